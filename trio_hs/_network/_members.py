"""The links of a pool: to which servers, in which groups. A change of the servers keeps those links that are still needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ._addresses import Addresses, Resolve
from ._link import Link, LinkOwner
from ._servers import Server


class Members(NamedTuple):
    """The links of a pool.

    Attributes:
      groups: in order of preference.
      links: all of them, in the same order.
      to: by the server's name for people. Servers that differ in something else may share one.
      new: those that were made for this list.
    """

    groups: list[list[Link]]
    links: list[Link]
    to: dict[str, list[Link]]
    new: list[Link]


def members_of(
    owner: LinkOwner,
    servers: Sequence[Sequence[Server]],
    connections: int,
    resolve: Resolve,
    present: Iterable[Link] = (),
) -> Members:
    """``connections`` links to each server: those of ``present`` that lead there, otherwise new ones.

    A server that is listed twice has twice as many.
    """
    kept: dict[Server, list[Link]] = {}
    for link in present:
        kept.setdefault(link.server, []).append(link)
    groups: list[list[Link]] = []
    new: list[Link] = []
    for group in servers:
        groups.append([])
        for server in group:
            found, kept[server] = kept.get(server, [])[:connections], kept.get(server, [])[connections:]
            if not found:
                addresses = Addresses(server, resolve)
                found = [Link(owner, server, addresses) for _ in range(connections)]
                new += found
            groups[-1] += found
    links = [link for group in groups for link in group]
    to: dict[str, list[Link]] = {}
    for link in links:
        to.setdefault(link.peer, []).append(link)
    return Members(groups, links, to, new)
