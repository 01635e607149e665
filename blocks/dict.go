package blocks

import (
	"context"
	"database/sql/driver"
	"strings"

	"daybook/tsdb/task"
)

// dict is one dictionary table of a file that is being written, whole in
// memory. Ids count from 1 in the order of first use.
type dict struct {
	table string
	ids   map[string]int64
	added []string // in the transaction under way
}

func (d *dict) id(c *conn, name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	if id, ok := d.ids[name]; ok {
		return id, nil
	}
	id := int64(len(d.ids) + 1)
	var err error
	if d.table == "worker" {
		err = c.exec("INSERT INTO worker (id, name, worker_group) VALUES (?, ?, ?)", id, name, task.WorkerGroup(name))
	} else {
		err = c.exec("INSERT INTO "+d.table+" (id, name) VALUES (?, ?)", id, name)
	}
	if err != nil {
		return 0, err
	}
	name = strings.Clone(name) // it may be a part of a whole record
	d.ids[name] = id
	d.added = append(d.added, name)
	return id, nil
}

// dictTables are the dictionary tables, in the order of dictIDs.
var dictTables = [4]string{"task_name", "worker", "queue", "exception"}

// dicts are the dictionaries of one file that is being written.
type dicts [4]dict

func newDicts() *dicts {
	d := new(dicts)
	for i, table := range dictTables {
		d[i] = dict{table: table, ids: map[string]int64{}}
	}
	return d
}

// loadDicts reads the dictionaries of a file.
func loadDicts(ctx context.Context, c *conn) (*dicts, error) {
	d := newDicts()
	for i := range d {
		names, err := loadNames(ctx, c, d[i].table)
		if err != nil {
			return nil, err
		}
		for id, name := range names[1:] {
			d[i].ids[name] = int64(id + 1)
		}
		if len(d[i].ids) != len(names)-1 {
			return nil, errRow
		}
	}
	return d, nil
}

// loadNames reads a dictionary table; the index is the id, and 0 is "".
func loadNames(ctx context.Context, c *conn, table string) ([]string, error) {
	names := []string{""}
	err := c.each(ctx, 2, func(vals []driver.Value) error {
		id, _ := vals[0].(int64)
		name, ok := vals[1].(string)
		if !ok || name == "" || id != int64(len(names)) {
			return errRow
		}
		names = append(names, name)
		return nil
	}, "SELECT id, name FROM "+table+" ORDER BY id")
	return names, err
}

// of returns the ids of an invocation's names and adds those that are new.
func (d *dicts) of(c *conn, v *task.Invocation) (ids dictIDs, err error) {
	if ids.name, err = d[0].id(c, v.TaskName); err != nil {
		return ids, err
	}
	if ids.worker, err = d[1].id(c, v.Worker); err != nil {
		return ids, err
	}
	if ids.queue, err = d[2].id(c, v.Queue); err != nil {
		return ids, err
	}
	ids.exception, err = d[3].id(c, v.Outcome.ExceptionType)
	return ids, err
}

// commit keeps what the transaction added, rollback forgets it.
func (d *dicts) commit() {
	for i := range d {
		d[i].added = d[i].added[:0]
	}
}

func (d *dicts) rollback() {
	for i := range d {
		for _, name := range d[i].added {
			delete(d[i].ids, name)
		}
	}
	d.commit()
}
