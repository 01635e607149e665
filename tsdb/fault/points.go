package fault

// Points are the names that Point is called with, in the order in which a record
// meets them.
var Points = []string{
	// the log
	"log.segment-created", "log.segment-named", "log.segment-removed", "log.written",
	"checkpoint.begun", "log.checkpoint-created", "log.checkpoint-named", "log.checkpoint-removed",
	// a cut, and what it supersedes; open invocations that are parked
	"live.created", "publish.linked",
	"cut.logged", "cut.stored", "cut.superseded", "cut.left",
	"park.logged", "park.stored",
	// a day is sealed for the first time, and again; what it replaces goes
	"seal.begun", "seal.built", "seal.named", "seal.summed", "seal.published",
	"reseal.begun", "reseal.built", "reseal.summed", "reseal.published",
	"live.closed", "sealed.drained", "sealed.unsummed",
	// retention
	"retain.floored", "retain.out", "retain.let-go", "retain.done", "retain.snapshot",
	// snapshot and backup
	"copy.captured", "copy.live",
	"snapshot.copied", "snapshot.whole", "snapshot.named",
	"backup.logged", "backup.copied", "backup.flagged", "backup.swapping", "backup.swapped",
	"backup.moving", "backup.moved", "backup.tidied", "backup.whole", "backup.marked",
	// a start
	"open.swept", "open.replaced", "open.absorbed",
	"replay.record", "relieve.resolved", "relieve.cut", "replay.read", "replay.resolved", "replay.prepared", "replay.trimmed",
}
