// Package compact moves invocations from the head into days and days through
// their lives: cut, seal, reseal, retention. Plans are pure functions (plan.go);
// acts are idempotent.
//
// # Model
//
// A cut takes finished and given up invocations out of the head and puts each
// into the live file of the day of its row time, one transaction a day. When a
// past day has been quiet for a while it is sealed: its live file and, if
// there is one, its sealed file become a new sealed file. Rows that come later
// go into a new live file, which is an overlay of the sealed one. Retention
// deletes the files of whole days. Gaps that have ended go the same way, each
// into the day in which it ends; a day may be nothing but a gap.
//
// # What happens when the process dies
//
//	at this moment                          the next start finds, and does
//	cut record logged, no transaction       a cut id that the day does not know: its ids are still in the head
//	transaction committed                   a known cut id: replay takes its ids out of the head
//	row written in its new day, its old     the id, replayed, in two days: it is not covered, so it is cut again,
//	row not yet deleted                     which deletes the old row
//	row written, its parked row still there the same, with the parked file
//	cut in the middle of a replay           no cut record: replayed again, covered by its row, and let go
//	new sealed file under tmp/              tmp/ is swept; the live file is sealed again
//	sealed file in days/, live file still   the sealed file names the live file and its last cut: the live file goes
//	there, or the older generation          the sealed file names the older one: it goes, .sha256 first
//	sealed file in days/ by a failing disk, the one generation too many: into quarantine/, and the day is sealed again
//	and the live file was cut into since
//	sealed file without .sha256             Mend checks the file and writes it
//	retention: out of the catalog, not      the day is older than the floor: it goes now
//	yet deleted
//	gap stored, still in the log            replayed, and merged into what is stored
//	live file created, nothing in it        an empty live file is used, or removed when its day is past
//
// # Damage
//
// A file in days/ or live/ that cannot be understood is left where it is, out
// of the catalog, and named by Unreadable. Nothing is deleted on suspicion.
//
// # The clock
//
// A clock that has jumped is not believed for an hour (Steady): until then no day is
// deleted for its age, and nothing is given up. A directory that has days and does not
// tell when a daemon last ran there counts as a jump.
//
// # What it does not do
//
// It never opens the log and knows the head only as the interface Head. It
// runs nothing by itself: the facade calls it.
package compact
