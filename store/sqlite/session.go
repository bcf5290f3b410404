package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// session runs statements inside one transaction: on the writer's connection,
// where they stay prepared, or in a caller's *sql.Tx.
type session interface {
	// exec runs a statement and returns how many rows it changed.
	exec(query string, args ...any) (int64, error)
	// query calls row for each row of the result. Its values are int64,
	// []byte, string or nil, and may be kept.
	query(query string, row func(v []driver.Value) error, args ...any) error
}

// prepared is the session of the writer's connection. It goes below
// database/sql, whose locks and conversions cost as much as a small insert.
type prepared struct {
	conn  driver.ConnPrepareContext
	stmts map[string]*preparedStmt
	args  []driver.NamedValue
}

// statement is what one of the driver's can do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type preparedStmt struct {
	stmt statement
	row  []driver.Value // of the row that query reads
}

// background has no Done channel, for which the driver would start a goroutine
// a statement.
var background = context.Background()

// newPrepared is on conn, which is the driver's: its interfaces are known.
func newPrepared(conn any) *prepared {
	c, _ := conn.(driver.ConnPrepareContext)
	return &prepared{conn: c, stmts: map[string]*preparedStmt{}}
}

// stmt prepares query once.
func (p *prepared) stmt(query string) (*preparedStmt, error) {
	if s, ok := p.stmts[query]; ok {
		return s, nil
	}
	st, err := p.conn.PrepareContext(background, query)
	if err != nil {
		return nil, err
	}
	usable, ok := st.(statement)
	if !ok {
		return nil, fmt.Errorf("the driver's statement is a %T without contexts", st)
	}
	s := &preparedStmt{stmt: usable}
	p.stmts[query] = s
	return s, nil
}

// bind numbers args, in a slice that is used again.
func (p *prepared) bind(args []any) []driver.NamedValue {
	p.args = p.args[:0]
	for i, a := range args {
		p.args = append(p.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return p.args
}

func (p *prepared) exec(query string, args ...any) (int64, error) {
	s, err := p.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := s.stmt.ExecContext(background, p.bind(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (p *prepared) query(query string, row func(v []driver.Value) error, args ...any) error {
	s, err := p.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.stmt.QueryContext(background, p.bind(args))
	if err != nil {
		return err
	}
	if s.row == nil {
		s.row = make([]driver.Value, len(rows.Columns()))
	}
	for {
		err = rows.Next(s.row)
		if err == nil {
			err = row(s.row)
		}
		if err != nil {
			break
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

func (p *prepared) close() {
	for _, s := range p.stmts {
		_ = s.stmt.Close() // its connection goes with it
	}
	clear(p.stmts)
}

// plain is the session of a *sql.Tx, or of a reader's connection.
type plain struct {
	ctx context.Context
	db  interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
}

func (p plain) exec(query string, args ...any) (int64, error) {
	res, err := p.db.ExecContext(p.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (p plain) query(query string, row func(v []driver.Value) error, args ...any) error {
	rows, err := p.db.QueryContext(p.ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]driver.Value, len(columns))
	raw, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range raw {
		into[i] = &raw[i] // database/sql does not scan into a *driver.Value
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range raw {
			values[i] = raw[i]
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one runs a query of at most one row and reports whether there was one. Its
// values go into the pointers of into: *int64, *string, *[]byte or *bool.
func one(db session, query string, args []any, into ...any) (found bool, err error) {
	err = db.query(query, func(v []driver.Value) error {
		found = true
		return scan(v, into...)
	}, args...)
	return found, err
}

// scan copies the values of a row; NULL is the zero value.
func scan(v []driver.Value, into ...any) error {
	if len(v) != len(into) {
		return fmt.Errorf("%d columns for %d values", len(v), len(into))
	}
	for i, p := range into {
		switch p := p.(type) {
		case *int64:
			*p, _ = v[i].(int64)
		case *int:
			n, _ := v[i].(int64)
			*p = int(n)
		case *bool:
			n, _ := v[i].(int64)
			*p = n != 0
		case *string:
			switch t := v[i].(type) {
			case string:
				*p = t
			case []byte:
				*p = string(t)
			default:
				*p = ""
			}
		case *[]byte:
			*p, _ = v[i].([]byte)
		case *driver.Value:
			*p = v[i]
		default:
			return fmt.Errorf("cannot scan into %T", p)
		}
	}
	return nil
}

// integers runs a query of one column and returns it.
func integers(db session, query string, args ...any) (list []int64, err error) {
	err = db.query(query, func(v []driver.Value) error {
		var n int64
		err := scan(v, &n)
		list = append(list, n)
		return err
	}, args...)
	return list, err
}

// texts is integers for strings.
func texts(db session, query string, args ...any) (list []string, err error) {
	err = db.query(query, func(v []driver.Value) error {
		var t string
		err := scan(v, &t)
		list = append(list, t)
		return err
	}, args...)
	return list, err
}
