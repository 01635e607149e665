package celery

// key is a field of an event or of the envelope around it.
type key uint8

const (
	keyType key = iota
	keyUUID
	keyTimestamp
	keyHostname
	keyPID
	keyName
	keyArgs
	keyKwargs
	keyRootID
	keyParentID
	keyRetries
	keyETA
	keyExpires
	keyQueue
	keyRoutingKey
	keyResult
	keyRuntime
	keyException
	keyTraceback
	keyRequeue
	keyProcessed
	eventKeys

	keyBody         key = 0
	keyContentType  key = 1
	keyEncoding     key = 2
	keyProperties   key = 3
	keyHeaders      key = 4
	keyBodyEncoding key = 5 // inside properties
	keyCompression  key = 6 // inside headers

	keyNone key = 255
)

// eventKey recognizes the fields of an event.
func eventKey(name []byte) key {
	switch string(name) {
	case "type":
		return keyType
	case "uuid":
		return keyUUID
	case "timestamp":
		return keyTimestamp
	case "hostname":
		return keyHostname
	case "pid":
		return keyPID
	case "name":
		return keyName
	case "args":
		return keyArgs
	case "kwargs":
		return keyKwargs
	case "root_id":
		return keyRootID
	case "parent_id":
		return keyParentID
	case "retries":
		return keyRetries
	case "eta":
		return keyETA
	case "expires":
		return keyExpires
	case "queue":
		return keyQueue
	case "routing_key":
		return keyRoutingKey
	case "result":
		return keyResult
	case "runtime":
		return keyRuntime
	case "exception":
		return keyException
	case "traceback":
		return keyTraceback
	case "requeue":
		return keyRequeue
	case "processed":
		return keyProcessed
	}
	return keyNone
}

// envelopeKey recognizes the fields of kombu's envelope, of its properties and
// of its headers.
func envelopeKey(name []byte) key {
	switch string(name) {
	case "body":
		return keyBody
	case "content-type":
		return keyContentType
	case "content-encoding":
		return keyEncoding
	case "properties":
		return keyProperties
	case "headers":
		return keyHeaders
	case "body_encoding":
		return keyBodyEncoding
	case "compression":
		return keyCompression
	}
	return keyNone
}
