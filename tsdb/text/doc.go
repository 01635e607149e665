// Package text finds invocations by what is written in them: it says what a
// word is, reads queries, matches them, and builds the word filters by which a
// day file knows which of its rows need not be read.
//
// # Words
//
// A word is an unbroken run of letters, digits and combining marks; everything
// else separates, also the underscore. So ORD-00512345 is two words, team_id is
// two (and is found by team_id and by team), user@example.com is three, and
// shop.orders.charge is three. Case does not matter (simple folding, one rune
// for one rune; É is é, but e with a combining accent is another text: nothing
// is normalized). A rune of a script that is written without spaces (Chinese,
// Japanese, Thai, Lao, Khmer, Burmese) is a word by itself, so that any part of
// such a text is found. NUL and invalid UTF-8 separate. Words are not cut,
// however long: a filter holds a hash of them.
//
// A task id that is a UUID, with or without dashes, is one word. Filters do not
// hold it: a query that has one names it in Query.TaskIDs, to be found by the
// index of ids. Any other task id is text like the rest.
//
// # Queries
//
// Terms are separated by spaces and all of them are required, each in any
// field:
//
//	charge              a word
//	ORD-00512345        its words, one behind the other in one field
//	"could not reach"   the same for text with spaces; \" is a quote
//	hand*               a word that begins so; also behind several: ORD-005*
//	/\/v1\/pay/         any text, with its punctuation, in any case; \/ is a slash
//
// Between the words of a term may be any separators: team_id finds "team id".
// The exception's message counts as the continuation of its type. A term
// without a letter or digit says nothing and is passed over.
//
// # Filters
//
// Rows that stand beside each other in a file form spans, up to MaxSpans spans
// a group. For a group, a Builder makes pages, of which each has the words of
// one range of hashes; a look-up reads one page and answers in which spans the
// word may be. A span that has the word is always among them
// (docs/adr/0008-word-filters.md).
//
// What a word is and its hash are part of the file format: changing either
// needs a new version of pages.
package text
