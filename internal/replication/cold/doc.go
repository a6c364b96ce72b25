// Package cold moves directories that are named by an old date out of a pair's tree, each node to a root of its own, and leaves a symbolic
// link in their place. What is written through the links afterwards is brought over by rsync on a timer.
//
// # Where things are
//
// On each node there are the tree (the hot part, which the pair's program keeps equal at once) and the cold root. Of this package are
//
//	TREE/.atoll-cold/root     a link to the cold root; this one alone differs between the nodes
//	TREE/.atoll-cold/aside/   directories that were replaced by a link, until all that is in them is in the cold root
//	TREE/2026/03/01           a link to ../../.atoll-cold/root/2026/03/01: the same text on both nodes, so that the pair's program has
//	                          nothing to do about it
//	ROOT/.atoll-cold/pair     says that this is the root: where it is missing, the root is not mounted
//	ROOT/.atoll-cold/staging/ copies that are not whole or not verified yet
//	ROOT/.atoll-cold/kept/    versions that a newer one has replaced, and those that came too late
//	ROOT/2026/03/01           the directory
//
// TREE/.atoll-cold is excluded from the hot part; ROOT/.atoll-cold/kept is kept equal like everything else in the root.
//
// # One move
//
// The file system is the journal: every step is one atomic operation, and what is there says how to go on. A program that is killed, or a
// machine that loses power, at any point begins again with what it finds:
//
//	in the tree  in the root  aside      what follows
//	directory    nothing      nothing    copy it into staging, as a mirror; verify both by digest; sync; rename the copy into its place
//	directory    directory    nothing    merge: what is only in the tree is added, of two versions the newer gets the name and the other is
//	                                     kept; nothing is removed. Then sync, and exchange the directory with the link
//	                                     (renameat2 with RENAME_EXCHANGE: a reader finds one or the other), and sync
//	directory    any          a link     the exchange has not happened or did not reach the disk: the link is removed, then as above
//	link         any          directory  merge what is aside into the root, then remove of it what is in the root, file by file
//	link         any          nothing    it is moved
//
// Only what is in staging is ever overwritten or removed as if it did not matter: nothing but this package writes there, and the directory
// is still in the tree then. A directory in the root may have been reached through the link, even if the link was lost in a power cut. So it
// is merged into and nothing else.
//
// # Who still writes
//
// A directory is not moved while one of its files is open for writing (fcntl(2), F_SETLEASE: a read lease is refused then), or has changed
// within the last minutes. Whoever opens a file in the very moment of the exchange, or has entered the directory before, writes into what is
// aside. A file is removed from there only under a read lease, which says that nobody has it open for writing, and after its bytes were
// compared with those in the root; directories are removed only when they are empty (rmdir(2)). What is different is merged first. All of this
// begins some minutes after the exchange (Config.Settled), when whoever was about to open something has done so.
//
// # Both nodes, and the hot part
//
// The node that leads drives (Round). Each node copies its own directory, which the hot part keeps equal, so that nothing travels; both
// copies are verified, and both digests have to be the same before either node exchanges anything. The hot part's program must never see a
// link on one node and the directory on the other: it would replace the directory. So it is ended for the seconds of the exchanges (Hold); where
// there are many, it runs in between. Before it starts Apart finds the directories that are moved on one node alone, after a crash, a restored
// backup, or a time without the other node. It leaves these alone, and meanwhile the other node copies them as well (Follow), without asking for
// equal digests: rsync merges the two copies.
//
// When the other node has been gone for long by the cluster's view, the one that is left, leading or not, goes on alone: its own copy is
// verified against its own directory, and the other node's directory stays until that node is back and Follow has moved it there. Should
// both nodes believe this of each other, both move, and nothing is lost either: there are two links, and rsync merges.
//
// # After the move
//
// Round ends with rsync in both directions, over a stream between the two agents, as the account that the data belongs to. Nothing is
// deleted on either side: a file that was deleted on one node comes back, and one that was deleted on both is gone. Of two versions the newer
// by whole seconds gets the name, of two within one second that of the node that leads; the replaced one is in .atoll-cold/kept on both nodes.
package cold
