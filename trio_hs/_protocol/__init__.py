"""The HandlerSocket protocol without I/O: requests to bytes, bytes to answers.

Theory of operation
-------------------
1. A request is a line, an answer is a line, and answers come strictly in the order of the requests. Both end with LF;
   their tokens are separated by TAB.
2. Inside a token the bytes 0x00-0x0f are written as 0x01 followed by the byte plus 0x40. So LF and TAB never occur in a
   value. The server also strips an unescaped CR before LF; as 0x0d is escaped, that touches no value of ours.
3. NULL is the token ``00`` (one raw zero byte), the empty string is the empty token. Inside an IN list the server takes
   ``00`` for a value, so NULL cannot be asked for there and is refused here.
4. A request on an index is the index id followed by a *tail*. Ids belong to a connection and the same request may go to
   several connections, so the functions here build tails, and the connection puts its own id in front.
5. An answer is ``code TAB columns [TAB value]...``. Code 0 is success and the values are the rows, flat. Any other
   code carries one value, the error's name. Some successes carry a token of their own: a modification its number of
   rows, an insert into a table with an auto_increment column the id (0 when the caller chose it).
6. Missing numbers and tokens are not refused by the server, they mean something else: no limit is limit 1, a missing value
   is the empty string, a modification without a limit is a plain find. Every tail built here is therefore complete.
7. Never to be sent: a line that begins with ``Q`` (stops every worker of the listener until a restart) or ``/`` (closes
   the connection). Lines begin with a digit, ``P`` or ``A`` here, by construction. Also never: an index id near 2**32
   and a find with 32 key values (both crash the server), hence the bounds below. An index opened on a view crashes it too;
   the protocol cannot see that, the caller must.
"""

from ._answers import Answers, all_succeeded, check_answer, error_of, parse_each, parse_number, parse_rows, parse_values
from ._index import Index
from ._requests import (
    MAX_INSERT_VALUES,
    Filter,
    auth_line,
    find_modify_tail,
    find_tail,
    get_many_tail,
    get_tail,
    get_tails,
    in_pair,
    insert_tail,
    insert_tails,
    listed_filters,
)
from ._values import NULL, Codec, Value, escape, unescape, value_list

__all__ = [
    "MAX_INSERT_VALUES",
    "NULL",
    "Answers",
    "Codec",
    "Filter",
    "Index",
    "Value",
    "all_succeeded",
    "auth_line",
    "check_answer",
    "error_of",
    "escape",
    "find_modify_tail",
    "find_tail",
    "get_many_tail",
    "get_tail",
    "get_tails",
    "in_pair",
    "insert_tail",
    "insert_tails",
    "listed_filters",
    "parse_each",
    "parse_number",
    "parse_rows",
    "parse_values",
    "unescape",
    "value_list",
]
