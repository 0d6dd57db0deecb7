"""The HandlerSocket protocol without I/O: requests to bytes, bytes to answers.

Theory of operation
-------------------
1. A request is a line, an answer is a line, and answers come strictly in the order of the requests. Both end with LF;
   their tokens are separated by TAB.
2. Inside a token the bytes 0x00-0x0f are written as 0x01 followed by the byte plus 0x40. So LF and TAB never occur in a
   value. The server also strips an unescaped CR before LF; as 0x0d is escaped, that touches no value of ours.
3. NULL is the token ``00`` (one raw zero byte). The empty string is the empty token. Inside an IN list the server takes
   ``00`` for a value, so NULL cannot be found there, and is refused here.
4. A request on an index is the index id followed by a *tail*. Ids belong to a connection, and the same request may go to
   several connections. So the functions here build tails, and the connection puts its own id in front.
5. An answer is ``code TAB columns [TAB value]...``. Code 0 is success, and the values are the rows, flat. Any other
   code carries one value, the error's name. Some successes carry a token of their own: a modification its number of
   rows, an insert into a table with an auto_increment column the id (0 if the client chose it).
6. The server does not refuse missing numbers and tokens; it takes them for something else. No limit is limit 1, a missing value
   is the empty string, a modification without a limit is a plain find. So every tail built here is complete.
7. Work that grows with what a caller asks for is done in slices (``_slices``), because in between other tasks must run.
8. Never send a line that begins with ``Q`` (stops every worker of the listener until a restart) or ``/`` (closes
   the connection). Lines built here begin with a digit, ``P`` or ``A``. Never send an index id near 2**32 (ours count from 0),
   or a find with 32 key values (``MAX_KEY_VALUES`` prevents it): both crash the server. An index opened on a view crashes it
   too. The protocol cannot see that; the user must.
"""

from ._answers import (
    Answers,
    all_succeeded,
    check_answer,
    error_of,
    in_rows,
    parse_each,
    parse_number,
    parse_rows,
    parse_values,
)
from ._buffer import Buffer
from ._index import Index, name_list
from ._inserts import RowEncoder, chunks_of_tails, insert_tail_in_slices, plain_rows
from ._requests import (
    MAX_INSERT_VALUES,
    MAX_ROWS,
    CountingOperation,
    Filter,
    FilterOperation,
    FindOperation,
    ModifyOperation,
    ReturningOperation,
    auth_line,
    begin_insert,
    find_modify_tail,
    find_tail,
    get_many_tail,
    get_tail,
    get_tails,
    in_pair,
    insert_tail,
    listed_filters,
)
from ._slices import (
    BYTES_PER_VALUE,
    SLICE_BYTES,
    SLICE_VALUES,
    Slices,
    encode_in_slices,
    joined_tokens,
    rows_in_slices,
    tokens_in_slices,
    with_tokens,
    write_long,
)
from ._values import (
    FEW_VALUES,
    LONG_LIST,
    LONG_VALUE,
    NULL,
    SEQUENCES,
    Codec,
    EncodedList,
    LongValue,
    Ordered,
    Value,
    escape,
    located,
    shown,
    unescape,
    unescape_pieces,
    value_list,
)

__all__ = [
    "BYTES_PER_VALUE",
    "FEW_VALUES",
    "LONG_LIST",
    "LONG_VALUE",
    "MAX_INSERT_VALUES",
    "MAX_ROWS",
    "NULL",
    "SEQUENCES",
    "SLICE_BYTES",
    "SLICE_VALUES",
    "Answers",
    "Buffer",
    "Codec",
    "CountingOperation",
    "EncodedList",
    "Filter",
    "FilterOperation",
    "FindOperation",
    "Index",
    "LongValue",
    "ModifyOperation",
    "Ordered",
    "ReturningOperation",
    "RowEncoder",
    "Slices",
    "Value",
    "all_succeeded",
    "auth_line",
    "begin_insert",
    "check_answer",
    "chunks_of_tails",
    "encode_in_slices",
    "error_of",
    "escape",
    "find_modify_tail",
    "find_tail",
    "get_many_tail",
    "get_tail",
    "get_tails",
    "in_pair",
    "in_rows",
    "insert_tail",
    "insert_tail_in_slices",
    "joined_tokens",
    "listed_filters",
    "located",
    "name_list",
    "parse_each",
    "parse_number",
    "parse_rows",
    "parse_values",
    "plain_rows",
    "rows_in_slices",
    "shown",
    "tokens_in_slices",
    "unescape",
    "unescape_pieces",
    "value_list",
    "with_tokens",
    "write_long",
]
