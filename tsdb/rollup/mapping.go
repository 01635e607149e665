package rollup

import (
	"math"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
)

// Accuracy is the relative accuracy of percentiles.
const Accuracy = 0.01

// maxIndex is the bin of the greatest int64: one for 0 and 2184 more.
const maxIndex = 2184

// scale maps durations to bins; immutable. The constructor's error is for
// accuracies outside (0, 1).
var scale, _ = mapping.NewLogarithmicMapping(Accuracy)

// indexOf is the bin of a duration: 0 for 0, else one more than the index of
// the mapping, which is not negative for whole microseconds.
func indexOf(us int64) int32 {
	if us <= 0 {
		return 0
	}
	return int32(scale.Index(float64(us))) + 1
}

// valueOf is within Accuracy of every duration in the bin.
func valueOf(index int32) float64 {
	if index <= 0 {
		return 0
	}
	return scale.Value(int(index) - 1)
}

// slack is more than what logarithm and exponential round, so that the edges
// of a bin are never inside it.
const slack = 1e-13

// lowest is at or, by slack, below the least duration of the bin.
func lowest(index int32) int64 {
	if index <= 0 {
		return 0
	}
	return micros(math.Ceil(scale.LowerBound(int(index)-1) * (1 - slack)))
}

// highest is at or, by slack, above the greatest duration of the bin.
func highest(index int32) int64 {
	if index <= 0 {
		return 0
	}
	return micros(math.Ceil(scale.LowerBound(int(index))*(1+slack)) - 1)
}

// micros converts without the overflow that the edges of the last bin have.
func micros(f float64) int64 {
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(f)
}
