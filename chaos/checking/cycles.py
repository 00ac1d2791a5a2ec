"""Circles in a directed graph: Tarjan's strongly connected components, without recursion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

DONE = -1


def strongly_connected(edges: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """The sets of two or more nodes that can all reach each other. (Tarjan 1972)"""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    pending: list[int] = []
    circles: list[list[int]] = []
    for root in edges:
        if root in order:
            continue
        path: list[tuple[int, Iterator[int]]] = [(root, iter(edges[root]))]
        order[root] = lowest[root] = len(order)
        pending.append(root)
        while path:
            node, successors = path[-1]
            successor = next(successors, None)
            if successor is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == order[node]:
                    circle = _popped(pending, node)
                    lowest.update(dict.fromkeys(circle, DONE))
                    if len(circle) > 1:
                        circles.append(circle)
            elif successor not in order:
                order[successor] = lowest[successor] = len(order)
                pending.append(successor)
                path.append((successor, iter(edges.get(successor, ()))))
            elif lowest[successor] != DONE:
                lowest[node] = min(lowest[node], order[successor])
    return circles


def _popped(pending: list[int], node: int) -> list[int]:
    start = len(pending) - 1
    while pending[start] != node:
        start -= 1
    component = pending[start:]
    del pending[start:]
    return component
