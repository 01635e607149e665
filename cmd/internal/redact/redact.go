package redact

import (
	"strings"
	"unicode/utf8"

	"daybook/tsdb/task"
)

// Mask is what a secret is replaced by.
const Mask = "[redacted]"

// DefaultKeys are masked unless other keys are asked for.
const DefaultKeys = "password,passwords,passwd,pwd,passphrase,secret,secrets,token,api_key,access_key,secret_key,private_key," +
	"authorization,credential,credentials,cookie,jwt,card_number,cvv"

// most is how often a text is masked until nothing changes.
const most = 8

// Redactor masks secrets. It is safe for concurrent use; a nil one masks nothing.
type Redactor struct {
	keys     keys
	patterns patterns
}

// New returns a redactor of the values of keys (separated by commas) and of
// what the regular expressions match; nil if there are neither.
func New(keys string, expressions []string) (*Redactor, error) {
	r := &Redactor{}
	var err error
	if r.keys, err = parseKeys(keys); err != nil {
		return nil, err
	}
	if r.patterns, err = compile(expressions); err != nil {
		return nil, err
	}
	if r.keys.none() && len(r.patterns) == 0 {
		return nil, nil
	}
	return r, nil
}

// Invocation masks the long texts of v, within their limits.
func (r *Redactor) Invocation(v *task.Invocation) {
	if r == nil {
		return
	}
	o := &v.Outcome
	r.field(v, &v.Args, task.MaxText, task.FieldArgs)
	r.field(v, &v.Kwargs, task.MaxText, task.FieldKwargs)
	r.field(v, &o.Result, task.MaxText, task.FieldResult)
	r.field(v, &o.ExceptionMessage, task.MaxText, task.FieldExceptionMessage)
	r.field(v, &o.Traceback, task.MaxTraceback, task.FieldTraceback)
}

func (r *Redactor) field(v *task.Invocation, s *string, limit int, f task.Field) {
	if *s == "" {
		return
	}
	short, cut := r.short(*s, limit)
	*s = short
	if cut {
		v.Truncated |= f
	}
}

// Text masks the secrets in s. It returns s itself if there are none.
func (r *Redactor) Text(s string) string {
	if r == nil {
		return s
	}
	for range most {
		masked := r.patterns.mask(r.keys.mask(s))
		if masked == s {
			return s
		}
		s = masked
	}
	return Mask
}

// short masks s and cuts it to its limit: a mask may be longer than the secret.
func (r *Redactor) short(s string, limit int) (string, bool) {
	cut := false
	for range most {
		masked := r.Text(s)
		if len(masked) > limit {
			masked, cut = cutText(masked, limit), true
		}
		if masked == s {
			return s, cut
		}
		s = masked
	}
	return Mask, cut
}

// cutText cuts at a character boundary and not inside of a mask.
func cutText(s string, limit int) string {
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	from := max(limit-len(Mask)+1, 0)
	if i := strings.Index(s[from:min(limit+len(Mask)-1, len(s))], Mask); i >= 0 && from+i < limit {
		limit = from + i
	}
	return strings.Clone(s[:limit])
}
