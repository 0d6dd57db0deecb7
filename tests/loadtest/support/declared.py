"""Scenarios with tables of their own, for tests."""

from __future__ import annotations

from typing import Any

from hs_drill.scenario import Scenario, parse_scenario

SHOP = """
name: shop
table:
  database: shop
  name: products
  rows: 100
  columns:
    id:       {type: bigint unsigned, values: sequence}
    category: {type: varchar(20), values: {choice: {books: 5, music: 3, toys: 2}}}
    price:    {type: "decimal(10,2)", values: {between: [1, 999]}}
    name:     {type: "varchar(80) character set utf8mb4", values: {text: {min: 10, max: 60}}}
    added:    {type: datetime, values: {between: ["2024-01-01", "2026-01-01"]}, null: 5%}
    views:    {type: int unsigned, values: 0}
    note:     {type: varchar(60), values: version}
  primary: [id]
  indexes: {by_price: [category, price]}
mix:
  product page:  {do: get, columns: [name, price, views], weight: 70}
  category list: {do: find, index: by_price, operation: ">=", by: [category], columns: [id, price], limit: 20, weight: 15}
  count view:    {do: incr, column: views, weight: 10}
  rename:        {do: update, set: [name, note], weight: 4}
  reprice:       {do: update, set: [price, note], weight: 2}
  new product:   {do: insert, weight: 1}
"""

TYPES = """
name: every type
table:
  database: types
  name: t
  rows: 200
  columns:
    region: {type: "char(2)", values: {choice: [eu, us, ap]}}
    id:   {type: bigint, values: sequence}
    ti:   {type: tinyint unsigned, values: {between: [0, 255]}}
    si:   {type: smallint, values: {zipfian: [-100, 30000]}}
    mi:   {type: mediumint, values: {between: [-8388608, 8388607]}}
    bu:   {type: bigint unsigned, values: {between: [0, 18446744073709551615]}}
    de:   {type: "decimal(65,30)", values: {between: [-12345.5, "99999999999999999999999999999999999"]}}
    du:   {type: "decimal(8,3) unsigned", values: {between: [0, 10], step: 0.125}}
    fl:   {type: float, values: {between: [-1000, 1000]}, null: 10%}
    db:   {type: double, values: {between: [-1.0e+300, 1.0e+300]}}
    b1:   {type: bit(1), values: {between: [0, 1]}}
    b17:  {type: bit(17), values: {between: [0, 131071]}}
    ch:   {type: "char(12) character set latin1", values: {text: {min: 0, max: 12, alphabet: "aéß"}}}
    v4:   {type: "varchar(30)", values: {text: {min: 0, max: 30, alphabet: "a🎉é日'\\\\\\t\\n"}}, null: 20%}
    te:   {type: "text character set ucs2", values: {text: {min: 1, max: 300}}}
    js:   {type: json, values: {text: {min: 1, max: 30, alphabet: "a\\"\\\\é"}}}
    bi:   {type: binary(6), values: {text: 6}}
    vb:   {type: varbinary(40), values: {text: {min: 0, max: 40}}}
    bl:   {type: blob, values: {text: {min: 0, max: 500}}}
    en:   {type: "enum('a','B','c d')", values: {choice: {a: 1, B: 2, c d: 3}}}
    se:   {type: "set('x','é','z') character set latin1", values: {choice: ["", x, "x,z", "x,é,z"]}}
    da:   {type: date, values: {between: ["1000-01-01", "9999-12-31"]}}
    dt:   {type: datetime, values: now}
    d6:   {type: datetime(6), values: {between: ["2000-01-01", "2030-01-01 12:00:00.5"]}}
    ts:   {type: timestamp(3), values: {between: ["2001-01-01", "2037-01-01"]}}
    tm:   {type: time(2), values: {between: ["-838:59:59", "838:59:59"], step: 0.25}}
    ye:   {type: year, values: {between: [1901, 2155]}}
    co:   {type: int, values: 5}
    up:   {type: varchar(20), values: {text: {min: 5, max: 20}}}
    ver:  {type: varbinary(18), values: version}
    nn:   {type: int, values: null}
  primary: [region, id]
mix:
  get: {weight: 5}
  rename: {do: update, set: [up, dt, v4, ver], weight: 1}
  add: {do: insert, weight: 1}
  step: {do: incr, column: co, weight: 1}
"""

ONLY_MARIADB = """
name: types that only MariaDB has
table:
  database: types
  name: u
  rows: 100
  columns:
    id:  {type: uuid, values: uuid}
    i4:  {type: inet4, values: {between: [10.0.0.0, 10.255.255.255]}}
    i6:  {type: inet6, values: {choice: ["2001:db8::1", "::1"]}}
    fs:  {type: "float(9,3)", values: {between: [-100000, 100000]}}
    ds:  {type: "double(12,2)", values: {between: [0, 1000]}, null: 50%}
    uc:  {type: "char(36)", values: uuid}
    ub:  {type: binary(16), values: uuid}
    l2:  {type: "varchar(20) character set latin2", values: {text: {min: 0, max: 20, alphabet: "ąęł"}}}
    ver: {type: varchar(40), values: version}
  primary: [id]
mix:
  get: {weight: 5}
  change: {do: update, set: [ds, ver], weight: 1}
  add: {do: insert, weight: 1}
"""


KEYS = """
name: a primary key of many types
table:
  database: types
  name: k
  rows: 150
  columns:
    number: {type: bigint unsigned, values: sequence}
    kind:  {type: "enum('b','a','c')", values: {choice: [a, b, c]}}
    flags: {type: "set('y','x')", values: {choice: ["", x, "x,y"]}}
    day:   {type: date, values: {between: ["2024-01-01", "2024-01-03"]}}
    price: {type: "decimal(5,2)", values: {choice: ["1.5", "-2.25", "10"]}}
    bits:  {type: bit(9), values: {choice: [1, 256, 300]}}
    raw:   {type: varbinary(3), values: {choice: ["0x00", "0x27ff", a]}}
    text:  {type: varchar(5), values: {choice: [é, "E", "'"]}}
    at:    {type: time(1), values: {choice: ["-1:00:00", "00:00:00.5"]}}
    ver:   {type: varchar(18), values: version}
  primary: [kind, flags, day, price, bits, raw, text, at, number]
mix:
  get: {weight: 5}
  change: {do: update, set: [ver], weight: 1}
"""


def declared(text: str = SHOP, **changes: Any) -> Scenario:
    """A scenario with a table of its own."""
    return parse_scenario(text, "s.yaml").model_copy(update=changes)
