"""Statements that try to write, to escape, to hang, to fill memory or to crash: a corpus for the sandbox.

``{dir}`` in a statement is a folder that an escape would write to or read from.
"""

_BOMBS = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
    "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x FROM c) SELECT max(x) FROM c",
    "WITH RECURSIVE c(x, y) AS (SELECT 1, 'a' UNION ALL SELECT x + 1, y || y FROM c) SELECT max(length(y)) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x * 2 FROM c) SELECT x FROM c ORDER BY x",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x + 1 FROM c) SELECT sum(x) FROM c GROUP BY x",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x, row_number() OVER (ORDER BY x DESC) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100000000) SELECT count(DISTINCT x) FROM c",
    "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a), b AS (SELECT * FROM a) SELECT * FROM b, b AS d",
    "WITH RECURSIVE c(x) AS (SELECT zeroblob(1000000) UNION ALL SELECT x FROM c) SELECT x FROM c",
    "WITH RECURSIVE c(x) AS (SELECT randomblob(1000000) UNION SELECT randomblob(1000000) FROM c) SELECT count(*) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT group_concat(x) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT json_group_array(x) FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT CASE WHEN x < 500 THEN x ELSE zeroblob(1000000) END FROM c",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT * FROM c WHERE x < 0",
    "WITH RECURSIVE f(a, b) AS (SELECT 0, 1 UNION ALL SELECT b, a + b FROM f) SELECT max(a) FROM f",
)

_MEMORY = (
    "SELECT zeroblob(2000000000)", "SELECT length(zeroblob(1000000000))", "SELECT randomblob(2000000000)",
    "SELECT hex(zeroblob(1000000))", "SELECT hex(hex(zeroblob(900000)))", "SELECT printf('%.1000000000c', 'x')",
    "SELECT printf('%2000000000s', 'x')", "SELECT printf('%*d', 2000000000, 1)", "SELECT printf('%-1000000000d', 1)",
    "SELECT format('%1000000000s', 'x')", "SELECT replace(hex(zeroblob(500000)), '0', 'aaaaaaaaaaaaaaaaaaaa')",
    "SELECT replace(printf('%.1000000c', 'x'), 'x', printf('%.1000000c', 'y'))",
    "SELECT quote(zeroblob(1000000))", "SELECT group_concat(hex(randomblob(500000))) FROM customer, customer AS b, customer AS c",
    "SELECT group_concat(name, printf('%.1000000c', ',')) FROM customer, purchase",
    "SELECT group_concat(a.name || b.item || c.name) FROM customer a, purchase b, customer c, purchase d, customer e, purchase f, customer g, purchase h",
    "SELECT zeroblob(1000000), zeroblob(1000000), zeroblob(1000000) FROM customer a, purchase b, customer c, purchase d",
    "SELECT json_array(printf('%.900000c', 'x'), printf('%.900000c', 'y'))", "SELECT char(0) || zeroblob(999999999)",
    "SELECT substr(zeroblob(1000000000), 1, 10)", "SELECT upper(zeroblob(1000000000))", "SELECT instr(zeroblob(900000), zeroblob(450000))",
    "SELECT a.name FROM customer a, customer b, customer c, customer d, customer e ORDER BY randomblob(100000)",
    "SELECT DISTINCT randomblob(100000) FROM customer a, purchase b, customer c, purchase d, customer e, purchase f",
    "SELECT count(*) FROM (SELECT randomblob(100000) AS r FROM customer a, purchase b, customer c, purchase d, customer e UNION SELECT 1)",
    "SELECT max(x) FROM (SELECT printf('%.1000000c', 'z') AS x FROM customer a, purchase b, customer c, purchase d, purchase e)",
    "VALUES (zeroblob(1000000)), (zeroblob(100000000)), (zeroblob(1000000000))",
)  # fmt: skip

_SLOW_FUNCTIONS = (
    "SELECT instr(printf('%.1000000c', 'a'), printf('%.500000c', 'a') || 'b')",
    "SELECT replace(printf('%.1000000c', 'a'), printf('%.400000c', 'a') || 'b', 'x')",
    "SELECT printf('%.1000000c', 'a') LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b'",
    "SELECT printf('%.1000000c', 'a') GLOB '*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b'",
    "SELECT printf('%.900000c', 'a') LIKE printf('%.500000c', '%') || 'b'",
    "SELECT trim(printf('%.900000c', 'a') || 'b', printf('%.100000c', 'a'))",
    "SELECT ltrim(printf('%.900000c', 'a'), printf('%.900000c', 'b') || 'a')",
    "SELECT sum(instr(printf('%.100000c', 'a'), printf('%.50000c', 'a') || 'b')) FROM customer, purchase, customer AS c",
)

_WRITES = (
    "INSERT INTO customer VALUES (9, 'x', 'y', 1)", "INSERT OR REPLACE INTO customer VALUES (1, 'x', 'y', 1)", "REPLACE INTO customer VALUES (1, 'x', 'y', 1)",
    "UPDATE customer SET name = 'x'", "UPDATE OR IGNORE customer SET id = 1", "DELETE FROM customer", "DELETE FROM customer RETURNING *",
    "INSERT INTO customer SELECT * FROM customer", "WITH x AS (SELECT 1) DELETE FROM customer", "WITH x AS (SELECT 1) UPDATE customer SET age = 1",
    "UPDATE customer SET age = 1 RETURNING *", "INSERT INTO customer DEFAULT VALUES", "DROP TABLE customer", "DROP TABLE IF EXISTS customer",
    "DROP VIEW IF EXISTS v", "DROP INDEX IF EXISTS i", "DROP TRIGGER IF EXISTS t", "CREATE TABLE t (a)", "CREATE TABLE IF NOT EXISTS t AS SELECT * FROM customer",
    "CREATE TEMP TABLE t (a)", "CREATE TEMPORARY TABLE t AS SELECT 1", "CREATE TABLE temp.t (a)", "CREATE VIEW v AS SELECT 1", "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE INDEX i ON customer (name)", "CREATE UNIQUE INDEX i ON customer (id)", "CREATE TRIGGER t AFTER INSERT ON customer BEGIN SELECT 1; END",
    "CREATE TEMP TRIGGER t AFTER INSERT ON customer BEGIN DELETE FROM customer; END", "CREATE VIRTUAL TABLE f USING fts5(x)", "CREATE VIRTUAL TABLE f USING fts4(x)",
    "CREATE VIRTUAL TABLE r USING rtree(a, b, c)", "CREATE VIRTUAL TABLE c USING csv(filename='/etc/passwd')", "CREATE VIRTUAL TABLE d USING dbstat",
    "ALTER TABLE customer RENAME TO c", "ALTER TABLE customer RENAME COLUMN name TO n", "ALTER TABLE customer ADD COLUMN x", "ALTER TABLE customer DROP COLUMN city",
    "REINDEX", "REINDEX customer", "ANALYZE", "ANALYZE customer", "VACUUM", "VACUUM main", "VACUUM INTO '{dir}/copy.sqlite'", "VACUUM main INTO '{dir}/copy2.sqlite'",
    "BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "COMMIT", "END", "ROLLBACK", "SAVEPOINT s", "RELEASE s", "ROLLBACK TO s", "PRAGMA writable_schema = ON",
    "UPDATE sqlite_master SET sql = ''", "DELETE FROM sqlite_master", "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 0, '')", "DROP TABLE sqlite_master",
)  # fmt: skip

_ESCAPES = (
    "ATTACH '{dir}/new.sqlite' AS n", "ATTACH DATABASE '{dir}/new.sqlite' AS n", "ATTACH ':memory:' AS n", "ATTACH '' AS n", "ATTACH 'file:{dir}/n.sqlite?mode=rwc' AS n",
    "DETACH main", "DETACH DATABASE main", "SELECT load_extension('{dir}/evil.so')", "SELECT load_extension('/lib/libc.so.6', 'x')", "SELECT LOAD_EXTENSION('x')",
    "SELECT writefile('{dir}/out.txt', 'x')", "SELECT WriteFile('{dir}/out.txt', 'x')", "SELECT readfile('/etc/passwd')", "SELECT edit('x', 'touch {dir}/edited')",
    "SELECT fts3_tokenizer('simple')", "SELECT fts3_tokenizer('simple', x'4141414141414141')", "SELECT sqlite_attach('x', 'y', 'z')", "SELECT sqlite_detach('main')",
    "SELECT * FROM fsdir('/')", "SELECT zipfile('x', 'y')", "SELECT eval('DROP TABLE customer')", "SELECT system('touch {dir}/sys')", "SELECT name FROM customer INTO OUTFILE '{dir}/o'",
    "COPY customer TO '{dir}/copy.csv'", ".shell touch {dir}/shell", ".output {dir}/out", ".dump", ".read /etc/passwd", "\\! touch {dir}/x",
    "SELECT * FROM pragma_database_list", "SELECT * FROM pragma_table_info('customer')", "SELECT * FROM pragma_compile_options", "SELECT * FROM pragma_function_list",
    "SELECT sqlite_compileoption_get(1)", "SELECT sqlite_rename_table('a', 'b', 'c', 'd', 'e', 'f', 'g')", "SELECT * FROM sqlite_dbpage",
)  # fmt: skip

_PRAGMAS = tuple(
    f"PRAGMA {pragma}"
    for pragma in (
        "journal_mode = WAL", "journal_mode = DELETE", "query_only = OFF", "writable_schema", "user_version = 7", "application_id = 7", "page_size = 512",
        "auto_vacuum = FULL", "incremental_vacuum", "wal_checkpoint(TRUNCATE)", "temp_store_directory = '{dir}'", "data_store_directory = '{dir}'", "hard_heap_limit = 1",
        "soft_heap_limit = 1", "mmap_size = 0", "cache_size = 0", "locking_mode = EXCLUSIVE", "foreign_keys = ON", "trusted_schema = ON", "cell_size_check = ON", "optimize",
        "schema_version = 99", "encoding = 'UTF-16'", "table_info(customer)", "database_list", "integrity_check", "quick_check", "shrink_memory", "recursive_triggers = ON",
        "threads = 64", "max_page_count = 1", "busy_timeout = 999999", "analysis_limit = 1", "synchronous = OFF", "secure_delete = ON", "legacy_alter_table = ON", "module_list",
    )
)  # fmt: skip

_HIDING = (
    "SELECT 1; DROP TABLE customer", "SELECT 1;; DROP TABLE customer", "SELECT 1 /* ; */; DROP TABLE customer", "SELECT 1 -- x\n; DROP TABLE customer", "; DROP TABLE customer",
    ";;;;", "-- only a comment", "/* only a comment */", "/* unclosed DROP TABLE customer", "/**/DROP/**/TABLE/**/customer", "-- x\nDROP TABLE customer", "--\rDROP TABLE customer",
    "SELECT 1 UNION SELECT 1; ATTACH '{dir}/x' AS y", "EXPLAIN DROP TABLE customer", "EXPLAIN QUERY PLAN DELETE FROM customer", "EXPLAIN SELECT 1", "SELECT 1;\x00 DROP TABLE customer",
    "SELECT 'a;b'; DELETE FROM customer", "SELECT \"'; DROP TABLE customer; --\"", "SELECT [;] ; DROP TABLE customer", "SELECT `;` ; DROP TABLE customer", "\ufeffDROP TABLE customer",
    "\u200bDELETE FROM customer", "DROP\u00a0TABLE customer", "ｄｒｏｐ table customer", "BEGIN; DROP TABLE customer; COMMIT", "END; END; DROP TABLE customer", "SELECT 1 WHERE EXISTS (DELETE FROM customer)",
)  # fmt: skip

_TEXTS = (
    "\x00", "SELECT \x00", "SELECT '\x00'", "SELECT 1\x00", "\x00" * 10_000, "\ud800", "SELECT '\ud800'", "SELECT '\udfff' FROM customer", "SELECT \udcff\udcfe",
    "SELECT '\U0010ffff'", "SELECT '" + "x" * 1_000_000 + "'", "SELECT " + "1" * 1_000_000, "SELECT x'" + "00" * 500_000 + "'", "SELECT " + "x" * 1_000_000, " " * 1_000_000,
    "SELECT" + " " * 900_000 + "1", "--" + "x" * 999_000, "/*" + "x" * 999_000, "'" * 999_999, '"' * 999_999, "`" * 99_999, "[" * 99_999, ";" * 999_999,
    "SELECT CAST(x'fffefdfc80' AS TEXT)", "SELECT x'ff' || 'a'", "SELECT CAST(x'ed9fbfeda080' AS TEXT) || name FROM customer", "SELECT char(55296, 56320, 1114111)",
    "SELECT name FROM customer WHERE name = CAST(x'80' AS TEXT)", "", " ", "\n\n", "\t", "SELECT", "select from where", "garbage", "😀", "SELECT 😀 FROM 😀", "{{}}", "%s%s%s%n", "NULL", "0",
)  # fmt: skip

_DEEP = (
    "SELECT " + "(" * 10_000 + "1" + ")" * 10_000, "(" * 10_000, ")" * 10_000, "SELECT " + "(" * 100_000, "SELECT " + "-" * 10_001 + "1", "SELECT " + "~" * 10_000 + "1",
    "SELECT " + "NOT " * 10_000 + "1", "SELECT 1" + " + 1" * 10_000, "SELECT 1" + " AND 1" * 50_000, "SELECT '' " + "|| 'a' " * 20_000, "SELECT " + "CASE WHEN 1 THEN " * 3_000 + "1" + " END" * 3_000,
    "SELECT " + "abs(" * 5_000 + "1" + ")" * 5_000, "SELECT * FROM " + "(SELECT * FROM " * 3_000 + "customer" + ")" * 3_000, "SELECT 1 " + "UNION ALL SELECT 1 " * 10_000,
    "SELECT 1 " + "UNION SELECT 1 " * 10_000, "SELECT " + ",".join(["1"] * 100_000), "SELECT * FROM " + ",".join(["customer"] * 65), "SELECT * FROM " + " JOIN ".join(["customer"] * 64),
    "SELECT * FROM customer WHERE id IN (" + ",".join(["1"] * 200_000) + ")", "VALUES " + ",".join(["(1)"] * 100_000), "SELECT max(" + ",".join(["1"] * 10_000) + ")",
    "WITH " + ",".join(f"c{i} AS (SELECT 1)" for i in range(5_000)) + " SELECT 1", "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a",
    "WITH " + ",".join([f"c{i} AS (SELECT * FROM c{i - 1}, c{i - 1} AS d)" if i else "c0 AS (SELECT 1 AS x)" for i in range(40)]) + " SELECT count(*) FROM c39",
    "SELECT ?", "SELECT ?1, :a, @b, $c", "SELECT ?99999999", "SELECT " + "a." * 10_000 + "b", "SELECT 1e999999999", "SELECT 9223372036854775808", "SELECT -9223372036854775808 / -1",
    "SELECT abs(-9223372036854775808)", "SELECT 1 << 9223372036854775807", "SELECT 1 % 0", "SELECT max()", "SELECT sum(9223372036854775807) FROM customer", "SELECT * FROM customer LIMIT -1 OFFSET -1",
    "SELECT * FROM customer LIMIT 9223372036854775807 OFFSET 9223372036854775807", "SELECT DISTINCT " * 5_000 + "1", "select max ( from " * 2_000,
)  # fmt: skip

_JOINS = tuple(
    "SELECT " + what + " FROM " + ", ".join(f"{table} AS t{i}" for i in range(count)) + tail
    for table in ("customer", "purchase", "sqlite_master")
    for count in (16, 30)
    for what, tail in (("count(*)", ""), ("*", " ORDER BY 1"), ("sum(t0.rowid * t1.rowid)", " GROUP BY t0.rowid"))
)


def hostile_statements(folder: str) -> list[str]:
    """The corpus, without repeats."""
    groups = (_BOMBS, _MEMORY, _SLOW_FUNCTIONS, _WRITES, _ESCAPES, _PRAGMAS, _HIDING, _TEXTS, _DEEP, _JOINS)
    return list(dict.fromkeys(sql.replace("{dir}", folder) for group in groups for sql in group))
