// Package redact masks secrets in the texts of invocations before anything of
// them is stored.
//
// # Model
//
// A text is what Celery shows of Python values (args, kwargs, result), JSON, or
// prose (exception messages, tracebacks): often one inside a string of the
// other, often cut short. So nothing is parsed as a whole. Every colon and
// equals sign is looked at: if a key stands before it, the value behind it is
// replaced by the mask.
//
//	'password': 'x'    "token": "x"    \"token\": \"x\"    b'pwd': b'x'
//	password='x'       token=x&next    'pin': [1, 2]       secret: "x"
//
// A key is compared without case, underscores, hyphens and dots, and also
// stands at the end of a longer name: token masks access_token, accessToken
// and X-Auth-Token, but neither tokens nor token_count.
//
// Regular expressions then mask whatever they match.
//
// # Promises
//
//   - Idempotent: what was masked stays as it is, so dumping, importing and
//     dumping again gives the same bytes. Masking is repeated until nothing
//     changes; a text for which that does not end is masked whole.
//   - When in doubt about where a value ends (text cut short, quotes that do
//     not match), too much is masked and not too little.
//   - The time is linear in the text, whatever it says. A text without a key
//     costs one walk over its bytes and no memory.
//   - Fields stay within their limits; None, null and empty values stay.
//
// # What it does not do
//
// It does not find secrets without a key or a pattern, and it knows no values
// in other fields: names, ids, exception types.
package redact
