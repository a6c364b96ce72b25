# Waits until old directories are being moved on this node and are in a phase of that, and kills a program at that very moment.
# perl files_cold_phase.pl PHASE VICTIM TREE ROOT; VICTIM may be "nobody". It fails when that has not come within 90 s.
use strict;
use warnings;

my ($phase, $victim, $tree, $root) = @ARGV;

# running lists the programs that a line of their arguments or their name tells.
sub running {
	my ($is) = @_;
	my @found;
	for my $dir (glob '/proc/[0-9]*') {
		my ($pid) = $dir =~ /(\d+)$/;
		open(my $c, '<', "$dir/comm") or next;
		chomp(my $name = <$c> // '');
		open(my $a, '<', "$dir/cmdline") or next;
		my $arguments = <$a> // '';
		push @found, $pid if $is->($name, $arguments);
	}
	return @found;
}

my %victims = (
	unison => sub { $_[0] eq 'unison' },
	rsync  => sub { $_[0] eq 'rsync' },
	mover  => sub { $_[0] eq 'atoll-cold' },
	worker => sub { $_[0] eq 'atolld' && $_[1] =~ /\0pair\0--config\0/ },
	agent  => sub { $_[0] eq 'atolld' && $_[1] !~ /\0pair\0/ },
);

sub aside { return grep { -d && !-l } glob "$tree/.atoll-cold/aside/*" }

# folders lists the folders that are named by a day.
sub folders { return map { substr $_, 1 + length $_[0] } glob "$_[0]/*/[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]" }

my %phases = (
	# Copies are made in the cold root.
	copying => sub { return glob "$root/.atoll-cold/staging/*" },
	# A copy has its name there, and the tree has the directory still.
	placed => sub { return grep { -d "$tree/$_" && !-l "$tree/$_" } folders($root) },
	# The tree has the link, and what was replaced is aside.
	replaced => sub { return aside() },
	# What was replaced is being removed.
	removing => sub { return grep { !-e "$_/1" } aside() },
	# What was written through links is brought over.
	bringing => sub { return running(sub { $_[0] eq 'rsync' && $_[1] =~ /--daemon|peer::/ }) },
);

my $until = time + 90;
until (time > $until) {
	if ($phases{$phase}->()) {
		exit 0 if $victim eq 'nobody';
		my @pids = running($victims{$victim});
		exit 0 if kill 'KILL', @pids;
	}
	select undef, undef, undef, 0.002;
}
die "no move was $phase within 90 s, with $victim at work\n";
