"""The table of most tests here."""

from trio_hs.testing import Table

TRUCKS = Table(
    "cars",
    "trucks",
    {
        "id": "INT NOT NULL AUTO_INCREMENT",
        "company": "VARCHAR(40) NOT NULL DEFAULT 'nobody'",
        "price": "INT NULL",
    },
    primary_key=["id"],
    indexes={"company": ["company", "id"]},
)
