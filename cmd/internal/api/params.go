package api

import (
	"net/http"
	"net/url"

	"daybook/cmd/internal/params"
)

// queryString reads the parameters of a request as they were written.
func queryString(r *http.Request) (url.Values, error) {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query string is malformed: %v", err)
	}
	return given, nil
}

// parameters reads the query string. known maps the names that are understood
// to the names they stand for.
func parameters(r *http.Request, known map[string]string) (params.Values, error) {
	given, err := queryString(r)
	if err != nil {
		return nil, err
	}
	return params.Parse(given, known)
}

// reader reads the parameters of one request.
type reader struct{ params.Reader }

func (a *API) reader(v params.Values) *reader { return &reader{params.Reader{Values: v, Now: a.Now()}} }
