package query_test

import (
	"context"
	"testing"
)

func TestQuery(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(30_000)
	w.add(5_000)
	for _, sql := range []string{
		`SELECT city, count(*) AS n, sum(price) AS total, avg(amount) AS a FROM mixed WHERE id < 10000 GROUP BY city ORDER BY city LIMIT 3`,
		`SELECT * FROM mixed WHERE id IN (7, 31000) ORDER BY id`,
		`SELECT count(*) FROM mixed`,
		`SELECT sum(len(tags)), max("time"), bool_or(flag), min(note), count("count") FROM mixed`,
		`WITH big AS (SELECT * FROM mixed WHERE price > 5000) SELECT count(*), min(price) FROM big b JOIN mixed m USING (id)`,
	} {
		got, err := w.run(context.Background(), o, sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		for _, b := range got {
			t.Log(b)
		}
	}
}
