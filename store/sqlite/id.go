package sqlite

import (
	"strconv"
	"strings"
)

// A delivery's id is the file's and the row's. Rows are never numbered twice, so
// that it is fit for an idempotency key wherever the delivery goes.

func (s *Store) deliveryID(row int64) string {
	var buf [64]byte
	b := append(append(buf[:0], s.file...), '-')
	return string(strconv.AppendInt(b, row, 10))
}

// row returns the row that id names; 0, which no row has, if it is none of this
// file.
func (s *Store) row(id string) int64 {
	number, ok := strings.CutPrefix(id, s.file)
	if !ok || len(number) < 2 || number[0] != '-' || number[1] < '1' || number[1] > '9' {
		return 0
	}
	row, err := strconv.ParseInt(number[1:], 10, 64)
	if err != nil {
		return 0
	}
	return row
}
