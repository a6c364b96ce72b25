# An application that keeps files in a tree, in its own words: what it tries, what it has done, what it replaced by that.
# perl files_writer.pl MODE DIR BY [NAME=VALUE ...]; it ends with its standard input. Each version of a file begins with an id of
# its own. A version is done when the file was closed, and was on the disk before that unless sync=0.
use strict;
use warnings;
use Fcntl;
use IO::Handle;

my ($mode, $dir, $by, @options) = @ARGV;
my %o = (pause => 0.02, size => 500, from => 0, count => 100, rate => 0, sync => 1, shift => 0, each => 10);
for (@options) { my ($name, $value) = split /=/; $o{$name} = $value }
STDOUT->autoflush(1);
my $filler = join('', map { chr(97 + int rand 26) } 1 .. 997) x (1 + int $o{size} / 997);
my $number = 0;

sub over { my ($long) = @_; my $in = ''; vec($in, 0, 1) = 1; return scalar select($in, undef, undef, $long) }
sub id { return $by . '-' . ++$number }

# version reads which version a file is.
sub version {
	my ($path) = @_;
	open(my $f, '<', $path) or return '-';
	my $line = <$f> // '';
	return $line =~ /^version (\S+)$/ ? $1 : '-';
}

# fill makes a file that was not there.
sub fill {
	my ($path, $id) = @_;
	sysopen(my $f, $path, O_WRONLY | O_CREAT | O_EXCL) or return 0;
	my $ok = print $f substr("version $id\n$filler", 0, $o{size} > 60 ? $o{size} : 60);
	$ok = $f->flush && $ok;
	$ok = $f->sync && $ok if $o{sync};
	my $date = time + $o{shift};
	utime $date, $date, $f if $o{shift};
	return close($f) && $ok;
}

sub failed { my ($path) = @_; print "failed $path $!\n"; return 0 }

# create makes a file in its place.
sub create {
	my ($path) = @_;
	my $id = id();
	print "try $id - $path\n";
	fill($path, $id) or return failed($path);
	print "done $id - $path\n";
	return $id;
}

# replace puts a new version into the place of one that nobody else changes.
sub replace {
	my ($path, $saw) = @_;
	my $id = id();
	print "try $id $saw $path\n";
	unlink "$path.tmp";
	fill("$path.tmp", $id) && rename("$path.tmp", $path) or return failed($path);
	print "done $id $saw $path\n";
	return $id;
}

# exchange puts a new version into the place of whatever is there at that very moment, and tells what that was.
sub exchange {
	my ($path) = @_;
	my $id = id();
	my $new = "$path.$by.tmp";
	print "try $id - $path\n";
	fill($new, $id) or return failed($path);
	for (1 .. 20) {
		if (link $new, $path) {
			unlink $new;
			print "done $id - $path\n";
			return 1;
		}
		if (-e $path && system('mv', '--exchange', '--no-target-directory', $new, $path) == 0) {
			my $saw = version($new);
			unlink $new;
			print "done $id $saw $path\n";
			return 1;
		}
	}
	unlink $new;
	return failed($path);
}

# take removes whatever is there at that very moment, and tells what that was.
sub take {
	my ($path) = @_;
	my $old = "$path.$by.tmp";
	rename $path, $old or return failed($path);
	print 'gone ' . version($old) . " $path\n";
	unlink $old;
	return 1;
}

# names lists a directory.
sub names {
	my ($path) = @_;
	opendir(my $d, $path) or return ();
	return grep { !/^\./ && !/\.tmp$/ } readdir $d;
}

my %modes = (
	# steady makes, replaces and removes files until it is told to end.
	steady => sub {
		my (@live, %last);
		for (my $n = 1; !over($o{pause}); $n++) {
			if ($n % 4 == 0 && @live > 4) {
				my $path = $live[rand @live];
				my $id = replace($path, $last{$path});
				$last{$path} = $id if $id;
			} elsif ($n % 10 == 5 && @live > 20) {
				my $path = splice @live, int rand @live, 1;
				print "taking $last{$path} $path\n";
				unlink $path or failed($path);
			} else {
				my $folder = "$dir/" . int($n / 50);
				mkdir $folder;
				my $id = create("$folder/$n");
				if ($id) { push @live, "$folder/$n"; $last{"$folder/$n"} = $id }
			}
		}
	},
	# make makes files, so many a second when a rate is given.
	make => sub {
		my $began = time;
		for my $i ($o{from} .. $o{from} + $o{count} - 1) {
			my $folder = "$dir/" . int($i / 100);
			mkdir $folder if $i % 100 == 0 || $i == $o{from};
			create("$folder/$i");
			next unless $o{rate} && $i % 100 == 0;
			my $ahead = ($i - $o{from}) / $o{rate} - (time - $began);
			last if over($ahead > 0 ? $ahead : 0);
		}
	},
	# dated makes files in folders that are named by an old day.
	dated => sub {
		for my $i ($o{from} .. $o{from} + $o{count} - 1) {
			my $path = $dir;
			for (sprintf('%04d', 2001 + int($i / 336)), sprintf('%02d', 1 + int($i % 336 / 28)), sprintf('%02d', 1 + $i % 28)) {
				$path .= "/$_";
				mkdir $path;
			}
			create("$path/$_") for 1 .. $o{each};
		}
	},
	# hold has a file open for writing until it is told to end, and writes its end then.
	hold => sub {
		my ($id, $path) = (id(), "$dir/held");
		print "try $id - $path\n";
		sysopen(my $f, $path, O_WRONLY | O_CREAT | O_EXCL) or return failed($path);
		print $f "version $id\n";
		$f->flush;
		over(undef);
		print $f $filler;
		$f->flush && $f->sync && close($f) or return failed($path);
		print "done $id - $path\n";
	},
	# rewrite replaces the files that make has made, and makes those that are not there.
	rewrite => sub {
		for my $i ($o{from} .. $o{from} + $o{count} - 1) {
			my $folder = "$dir/" . int($i / 100);
			mkdir $folder;
			exchange("$folder/$i");
		}
	},
	remove  => sub { take("$dir/" . int($_ / 100) . "/$_") for $o{from} .. $o{from} + $o{count} - 1 },
	# storm gives folders, and files in them, other names.
	storm => sub {
		for my $n (1 .. $o{count}) {
			last if over($o{pause});
			my @folders = names($dir) or last;
			my $one = "$dir/" . $folders[rand @folders];
			if ($n % 3) { rename $one, "$dir/$by-$n"; next }
			my @files = names($one) or next;
			my $other = "$dir/" . $folders[rand @folders];
			rename "$one/" . $files[rand @files], "$other/$by-$n";
		}
	},
	# among makes and replaces files in whatever folders there are.
	among => sub {
		for my $n (1 .. $o{count}) {
			last if over($o{pause});
			my @folders = names($dir) or next;
			my $folder = "$dir/" . $folders[rand @folders];
			my @files = names($folder);
			if ($n % 2 && @files) { exchange("$folder/" . $files[rand @files]) }
			else { exchange("$folder/$by-new-$n") }
		}
	},
);
mkdir $dir;
$modes{$mode}->();
print "end\n";
