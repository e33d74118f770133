// Package safeyaml refuses YAML that makes a reader explode or recurse, before
// the reader sees it: a few hundred bytes of aliases of aliases stand for
// gigabytes.
//
// It reads no values; that is its callers' business.
package safeyaml

import (
	"fmt"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxNesting is how deep a document may be nested; a good one has 5 levels.
	maxNesting = 32
	// maxTokens bounds names, values and signs: readers take time by their square.
	maxTokens = 1 << 18
	// maxDocuments bounds the documents of a file; what wants one of them says so.
	maxDocuments = 8
)

// Problem is the first thing in a document that is refused.
type Problem struct {
	Line, Col int
	Reason    string
	Hint      string // what to do; may be empty
}

// Error reads "line:col: reason".
func (p *Problem) Error() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Col, p.Reason) }

// Check refuses anchors, aliases, tags and deep nesting with a *Problem.
func Check(text []byte) error {
	depth, line, dashes, headers := 0, 0, 0, 0
	for i, t := range lexer.Tokenize(string(text)) {
		refuse := func(reason, hint string) error {
			return &Problem{t.Position.Line, t.Position.Column, reason, hint}
		}
		if i >= maxTokens {
			return refuse(fmt.Sprintf("more than %d names, values and signs", maxTokens), "split it")
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return refuse("anchors and aliases are not allowed", "write it out")
		case token.DocumentHeaderType:
			if headers++; headers > maxDocuments {
				return refuse(fmt.Sprintf("more than %d documents", maxDocuments), "write one")
			}
		case token.TagType:
			return refuse("tags are not allowed", "leave it out")
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if depth > maxNesting || dashes > maxNesting || t.Position.IndentNum > 8*maxNesting {
			return refuse("nested too deep", "")
		}
	}
	return nil
}
