package query_test

import (
	"context"
	"testing"
)

// Whatever shape a statement has, the columns that it reads are those that were brought: one that was not would be an error.
func TestShapes(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.add(20_000)
	w.add(3_000)
	for _, sql := range []string{
		`SELECT * FROM mixed ORDER BY price DESC LIMIT 5`,
		`SELECT token, note FROM mixed ORDER BY price DESC, id LIMIT 5`,
		`SELECT id, row_number() OVER (PARTITION BY city ORDER BY price) AS n FROM mixed QUALIFY n = 1`,
		`WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < (SELECT count(flag) FROM mixed) / 10000) SELECT max(n) FROM t`,
		`SELECT city, (SELECT max(price) FROM mixed b WHERE b.city = a.city AND b.flag) FROM (SELECT DISTINCT city FROM mixed) a`,
		`SELECT count(*) FROM mixed a WHERE EXISTS (SELECT 1 FROM mixed b WHERE b.id = a.id + 1 AND b.amount > 0)`,
		`SELECT count(*) FROM mixed a WHERE a.token NOT IN (SELECT note FROM mixed WHERE note IS NOT NULL)`,
		`SELECT tag, count(*) FROM (SELECT unnest(tags) AS tag FROM mixed) GROUP BY tag ORDER BY 2 DESC LIMIT 3`,
		`SELECT m.id, u.tag FROM mixed m, unnest(m.tags) u(tag) WHERE u.tag > 990 LIMIT 3`,
		`SELECT a.id, b.price FROM mixed a ASOF JOIN mixed b ON a.time >= b.time WHERE a.flag LIMIT 3`,
		`SELECT city, list(note ORDER BY id) FROM mixed GROUP BY city LIMIT 1`,
		`SELECT * EXCLUDE (tags, note) REPLACE (price * 2 AS price) FROM mixed WHERE city LIKE 'city-1%' AND length(token) = 16`,
		`SELECT COLUMNS('c.*') FROM mixed LIMIT 1`,
		`SELECT mixed FROM mixed LIMIT 1`,
		`SELECT count(*) FROM mixed USING SAMPLE 10 ROWS`,
		`SELECT id FROM mixed TABLESAMPLE 1%`,
		`SELECT id FROM mixed WHERE flag UNION SELECT "count" FROM mixed EXCEPT SELECT 5`,
		`SELECT grouping(city), city, flag, sum(price) FROM mixed GROUP BY CUBE (city, flag) LIMIT 3`,
		`SELECT quantile_cont(price, 0.5), approx_count_distinct(token), mode(city), arg_max(note, price) FROM mixed`,
		`SELECT city FROM mixed WHERE id = (SELECT max(id) FROM mixed)`,
		`SELECT count(*) FROM mixed a JOIN mixed b ON a.id = b.id AND a.price <= b.price JOIN mixed c ON c.token = b.token`,
		`SELECT date_trunc('hour', "time") AS h, count(*) FILTER (flag) FROM mixed GROUP BY h ORDER BY h LIMIT 2`,
		`SELECT file_row_number FROM (SELECT 1 AS file_row_number, id FROM mixed) LIMIT 1`,
		`FROM (UNPIVOT (SELECT id, price, amount::DOUBLE AS amount FROM mixed) ON price, amount) LIMIT 2`,
		`FROM mixed PIVOT (sum(price) FOR flag IN (true, false) GROUP BY city) LIMIT 2`,
		`VALUES (1), (2)`,
		`TABLE mixed LIMIT 1`,
		`SELECT min(id) FROM mixed WHERE id > 1000000`,
		`SELECT max("count"), min(note) FROM mixed`,
		`SELECT id FROM mixed WHERE false`,
		`SELECT id FROM mixed LIMIT 0`,
	} {
		if _, err := w.run(context.Background(), o, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
