"""Wrong declarations of a table and of its operations: one line each, with file, line, key, and what would be right."""

from __future__ import annotations

import pytest

from hs_drill.scenario._reader import parse_scenario
from tests.loadtest.support.scenarios import mistakes
from tests.loadtest.support.shop import SHOP

WRONG = [
    # types
    ("type: bigint unsigned", "type: bigin", "7: table.columns.id.type: trio-hs has no type 'bigin'; did you mean bigint?"),
    ("type: int unsigned", "type: geometry", "12: table.columns.views.type: trio-hs has no type 'geometry'; the known ones ar"),
    ("type: varchar(20)", "type: varchar", "8: table.columns.category.type: needs its length, such as varchar(40)"),
    ("type: varchar(20)", "type: varchar(20) not null", "8: table.columns.category.type: NOT NULL is not part of a type: writ"),
    ("type: int unsigned,", "type: int as (1),", "12: table.columns.views.type: a generated column is not part of a type"),
    ('"decimal(10,2)"', '"decimal(70,2)"', "9: table.columns.price.type: the precision of a decimal is from 1 to 65, not 70"),
    ("set utf8mb4", "set klingon", "10: table.columns.name.type: has the charset 'klingon'; the known ones are ascii, cp1250"),
    ("enum('s','m','l')", "enum", "13: table.columns.size.type: needs its members, such as enum('a','b')"),
    ("type: int unsigned, ", "", "12: table.columns.views.type: is missing; add it, such as `type: int unsigned`"),
    # values
    (", values: 0}", "}", "12: table.columns.views.values: is missing; add how its values are made, such as `values: 0`"),
    ("values: 0", "values: -1", "12: table.columns.views.values: takes 0 to 4294967295, not -1"),
    ("values: 0", "values: 1.5", "12: table.columns.views.values: must be a whole number, not 1.5"),
    ("values: 0", "values: yes", "12: table.columns.views.values: must be a value, null, sequence, uuid, now"),
    ("values: 0", "values: {chioce: [1, 2]}", "12: table.columns.views.values: there is no way 'chioce' to make values; did "),
    ("[1, 999]", "[1, 123456789]", "9: table.columns.price.values.between.1: is a decimal(10,2) and would round or clip 12345"),
    ("[1, 999]", "[0.001, 9]", "9: table.columns.price.values.between.0: is a decimal(10,2) and would round or clip 0.001"),
    ("[1, 999]", "[999, 1]", "9: table.columns.price.values.between: the lower bound comes first: 999 is more than 1"),
    ("[1, 999]", "[1]", "9: table.columns.price.values.between: must have at least 2, not 1"),
    ("[1, 999]", "[1, cheap]", "9: table.columns.price.values.between.1: must be a number, not the text 'cheap'"),
    ("[1, 999]", "[1, 999], step: 0.001", "9: table.columns.price.values.step: must be a multiple of 0.01 for decimal, not 0."),
    ("max: 60", "max: 90", "10: table.columns.name.values.text.max: takes 80 characters, not 90"),
    ("min: 10, max: 60", "min: 61, max: 60", "10: table.columns.name.values.text.min: cannot be more than max: 61 is more tha"),
    ("choice: [s, m]", "choice: [s, xl]", "13: table.columns.size.values.choice: takes one of 's', 'm', 'l', not 'xl'"),
    ("books: 5", "books on sale and others: 5", "8: table.columns.category.values.choice.books on sale and others: takes 20 c"),
    ("books: 5", "books: 0", "8: table.columns.category.values.choice.books: must be more than 0, not 0"),
    ("2026-01-01", "2026-02-30", "11: table.columns.added.values.between.1: must be a time such as 2024-12-31 23:59:59, witho"),
    ("type: datetime", "type: timestamp", None),
    ("type: datetime", "type: date", None),
    ('["2024-01-01", "2026-01-01"]', "[2024-01-01 00:00+02:00, 2026-01-01]", "11: table.columns.added.values.between.0: must "),
    ("{between: [1, 999]}", "{text: 5}", "9: table.columns.price.values: `text` is for text and bytes, not for a decimal: say"),
    ("{text: {min: 10, max: 60}}", "{between: [a, z]}", "10: table.columns.name.values: `between` is for numbers, times and"),
    ("values: 0", "values: now", "12: table.columns.views.values: `now` needs a date or time, such as datetime, not an int"),
    ("{choice: [s, m]}", "{lines: none.txt}", "13: table.columns.size.values.lines: none.txt cannot be read: No such file or"),
    ("values: 0", "values: {constant: [1]}", "12: table.columns.views.values.constant: must be a number or text, not a list"),
    ("values: 0", "values: {sequence: false}", "12: table.columns.views.values.sequence: must be true, not false"),
    ("values: 0", "values: .inf", "12: table.columns.views.values: must be a number that ends, not inf"),
    ("[1, 999]", "[null, 2]", "9: table.columns.price.values.between.0: must be a number or text, not nothing"),
    ("choice: [s, m]", "choice: [s, [m]]", "13: table.columns.size.values.choice.1: must be a number or text, not a list"),
    ("null: 5%", "null: 105%", "11: table.columns.added.null: must be a share such as 99.9% or 0.999, not '105%'"),
    ("null: 5%", "null: 5%, nullable: false", "11: table.columns.added.null: is for a column that may be NULL, and this one m"),
    ("values: 0", "values: null, nullable: false", "12: table.columns.views.values: makes every value NULL, and the column ma"),
    ("values: 0", "values: {random: [1, 5]}", "12: table.columns.views.values: there is no way 'random' to make values; there"),
    ("type: int unsigned", "type: point", "12: table.columns.views.type: trio-hs has no type 'point'; the known ones are tiny"),
    # the version
    ("varchar(60)", "varchar(17)", "14: table.columns.note.type: is too short for a version: it needs 18 characters, such as "),
    ("varchar(60)", "binary(20)", "14: table.columns.note.type: must be binary(18) for a version: the server fills up a longe"),
    ("varchar(60)", "int", "14: table.columns.note.values: `version` needs a text such as varchar(18), not an int"),
    ("{text: {min: 10, max: 60}}", "version", "14: table.columns.note.values: a row has one version, and name carries it"),
    ("version}", "version, null: 1%}", "14: table.columns.note.null: a column of `values: version` cannot be NULL: leave `nul"),
    # the primary key
    ("  primary: [id]\n", "", "2: table.primary: is missing; add it, such as `primary: [id]`, for rows are found by their pri"),
    ("primary: [id]", "primary: [ids]", "15: table.primary.0: there is no column 'ids'; did you mean id?"),
    ("primary: [id]", "primary: [category]", "15: table.primary: needs a column with `values: sequence` or `values: uuid`, or"),
    ("primary: [id]", "primary: [id, id]", "15: table.primary.1: names id twice"),
    ("primary: [id]", "primary: [id, added]", "11: table.columns.added.null: cannot be NULL in a column of the primary key"),
    ("primary: [id]", "primary: [id, note]", "14: table.columns.note.values: cannot be `version` in the primary key, which no"),
    ("sequence}", "sequence, null: 1%}", "7: table.columns.id.null: a column of `values: sequence` cannot be NULL: leave `nul"),
    ("bigint unsigned", "smallint", "22: mix.new product: needs id to be a bigint: inserted rows have numbers of 2**40 and mo"),
    ("type: bigint unsigned", "type: varchar(9)", "7: table.columns.id.values: `sequence` needs an integer, such as bigint un"),
    ("bigint unsigned, values: sequence", "char(35), values: uuid", "7: table.columns.id.values: `uuid` needs the type uuid, "),
    # indexes
    ("[category, price]", "[categorie, price]", "16: table.indexes.by_price.0: there is no column 'categorie'; did you mean c"),
    ("[category, price]", "[category, category]", "16: table.indexes.by_price.1: names category twice"),
    ("[category, price]", "['category(10)', price]", "16: table.indexes.by_price.0: covers a prefix of category, by which no "),
    ("[category, price]", "[]", "16: table.indexes.by_price: needs at least one column"),
    ("{by_price:", "{primary: [id], by_price:", "16: table.indexes.primary: is the name of the primary key: give its columns "),
    ("type: varchar(20)", "type: text", "16: table.indexes.by_price.0: an index cannot have all of category, a text: make it "),
    ("type: varchar(20)", "type: varchar(800)", "16: table.indexes.by_price: takes up to 3,208 bytes, and an index holds 3,07"),
    ("type: varchar(60)", "type: varchar(17000)", "6: table.columns: take up to 68,436 bytes together, and a row holds 65,535"),
    # other keys of the table
    ("database: shop", "database: mysql", "3: table.database: is a database of the server's own: choose another name"),
    ("rows: 1000", "rows: 1000\n  groups: 7", "6: table.groups: is for the drill's own table: leave it out beside `columns`"),
    ("rows: 1000", "rows: 1000\n  writes: allowed", "6: table.writes: is for a table that exists: say `existing: true`, or le"),
    ("    size: ", "    SIZE: {type: int, values: 1}\n    size: ", "14: table.columns.size: is the same name as SIZE to the s"),
    ("    size: ", "    my size: ", "13: table.columns.my size: must be a plain name of at most 64 letters, digits and _, not"),
    # operations
    ("do: get,", "do: fetch,", "18: mix.product page.do: must be one of get, find, get_many, insert, incr, decr, update, dele"),
    ("do: get, ", "", "18: mix.product page: needs `do`, because its name is none of get, find, get_many, insert, incr, decr,"),
    ("product page:", "all:", "18: mix.all: is reserved: it stands for all operations together; choose another name"),
    ("product page:", "find:", "18: mix.find.do: an operation named find does a find: choose another name, or leave `do` out"),
    ("product page:", "'':", "18: mix.'': must be a name of 1 to 60 characters that can be printed, without a space at its en"),
    ("columns: [name, price, views]", "columns: [nam]", "18: mix.product page.columns.0: there is no column 'nam'; did you me"),
    ("columns: [name, price, views]", "columns: []", "18: mix.product page.columns: must have at least 1, not 0"),
    ("columns: [name, price, views]", "colums: [name]", "18: mix.product page.colums: unknown key; did you mean columns?"),
    ("index: by_price, ", "", "19: mix.category list: needs an `index`: one of PRIMARY, by_price"),
    ("index: by_price", "index: by_prize", "19: mix.category list.index: there is no index 'by_prize'; did you mean by_price?"),
    ("by: [category]", "by: [price]", "19: mix.category list.by: must be the first columns of the index by_price, in its orde"),
    ('operation: ">="', 'operation: "=>"', "19: mix.category list.operation: must be '=', '>', '>=', '<' or '<=', not the tex"),
    ("column: views, ", "", "20: mix.count view: needs a `column` to count in: an integer, such as views"),
    ("column: views", "column: view", "20: mix.count view.column: there is no column 'view'; did you mean views?"),
    ("column: views", "column: name", "20: mix.count view.column: must be an integer column to count in, and name is a varcha"),
    ("column: views", "column: id", "20: mix.count view.column: cannot be id, a column of the primary key, which no write cha"),
    ("type: int unsigned", "type: bigint unsigned", "20: mix.count view.column: is a bigint unsigned, and the server counts i"),
    ("type: int unsigned", "type: tinyint", "20: mix.count view.column: has no room to count: tinyint ends at 127, where the "),
    ("values: 0", "values: 0, null: 1%", "20: mix.count view.column: cannot be views, which may be NULL: the server does not "),
    ("set: [name, note]", "set: [name, note, views]", "20: mix.count view.column: cannot be views, which rename sets: a count"),
    ("set: [name, note]", "set: [name]", "21: mix.rename.set: must have note too, which says what wrote the row, in an audite"),
    ("set: [name, note]", "set: [id, note]", "21: mix.rename.set.0: cannot set id, a column of the primary key, which no writ"),
    ("set: [name, note]", "set: [nam, note]", "21: mix.rename.set.0: there is no column 'nam'; did you mean name?"),
    (", set: [name, note]", "", "21: mix.rename: needs `set`: the columns that it writes, such as `set: [name]`"),
    ("new product: ", "insert: 1\n  insert: ", "23: mix.insert: given twice; the first is in line 22"),
    ("do: insert", "do: delete", "22: mix.new product: removes rows that the run has inserted: give insert at least its weigh"),
    ("do: insert, weight: 1", "do: insert", "22: mix.new product.weight: is missing; add it, such as `weight: 1`"),
    ("{do: insert, weight: 1}", "1", "22: mix.new product: no such operation; there are get, find, get_many, insert, incr"),
    # beside the rest of the scenario
    ("mix:", "audit: true\nmix:", None),
    ("values: version", "values: x", None),
    ("mix:", "expect: {latency: {product pag: {p99: 1s}}}\nmix:", "17: expect.latency.product pag: unknown key; did you mean "),
    ("mix:", "expect: {latency: {get: {p99: 1s}}}\nmix:", "17: expect.latency.get: limits an operation that the mix does not "),
    ("mix:", "cluster: {kind: embedded}\nmix:", None),
]  # fmt: skip


@pytest.mark.parametrize("before, after, expected", WRONG)
def test_each_wrong_declaration_is_one_line(before: str, after: str, expected: str | None) -> None:
    assert before in SHOP
    text = SHOP.replace(before, after, 1)
    if expected is None:
        assert parse_scenario(text, "s.yaml")
    else:
        (found,) = mistakes(text)
        assert found.startswith(f"s.yaml:{expected}"), found
