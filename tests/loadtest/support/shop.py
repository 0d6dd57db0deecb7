"""A scenario with a table of its own, to be changed by tests."""

from __future__ import annotations

SHOP = """\
name: shop
table:
  database: shop
  name: products
  rows: 1000
  columns:
    id:       {type: bigint unsigned, values: sequence}
    category: {type: varchar(20), values: {choice: {books: 5, music: 3, toys: 2}}}
    price:    {type: "decimal(10,2)", values: {between: [1, 999]}}
    name:     {type: "varchar(80) character set utf8mb4", values: {text: {min: 10, max: 60}}}
    added:    {type: datetime, values: {between: ["2024-01-01", "2026-01-01"]}, null: 5%}
    views:    {type: int unsigned, values: 0}
    size:     {type: "enum('s','m','l')", values: {choice: [s, m]}}
    note:     {type: varchar(60), values: version}
  primary: [id]
  indexes: {by_price: [category, price]}
mix:
  product page:  {do: get, columns: [name, price, views], weight: 70}
  category list: {do: find, index: by_price, operation: ">=", by: [category], columns: [id, price], limit: 20, weight: 15}
  count view:    {do: incr, column: views, weight: 10}
  rename:        {do: update, set: [name, note], weight: 4}
  new product:   {do: insert, weight: 1}
"""


def changed(*changes: tuple[str, str]) -> str:
    """The scenario with some text replaced."""
    text = SHOP
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return text
