"""Timelines of the clock worked out by hand; the engine and its naive twin both keep them.

``[a,b)`` is a service from edge a to edge b.
"""

from __future__ import annotations

import pytest
from oracles.compare_clock import compare_tables
from oracles.table_cases import TableBuilder, Take

from spikeloop.simulator.cycle.clock import run_tables


def starts(result, unit):
    return [token.start for token in result.tokens[unit]]


def leaves(result, unit):
    return [token.leave for token in result.tokens[unit]]


@pytest.mark.parametrize(
    ("depth", "end", "producer_leaves", "consumer_starts", "waited", "peak"),
    [(1, 17, [1, 2, 5, 14], [1, 4, 7, 14], 2, 1), (4, 15, [1, 2, 3, 12], [1, 4, 7, 12], 0, 2)],
)
def test_a_slot_freed_now_is_filled_an_edge_later(depth, end, producer_leaves, consumer_starts, waited, peak):
    """Producer 1, 1, 1, 9 cycles, consumer 3 cycles a token.

    edge  depth 1: producer             queue  consumer         depth 4: producer
    0     t0 [0,1)                      0                       t0 [0,1)
    1     t0 moves; t1 [1,2)            0      t0 [1,4)         t0 moves; t1 [1,2)
    2     t1 moves; t2 [2,3)            1                       t1 moves; t2 [2,3)
    3     t2 is done, the queue full    1                       t2 moves, 2 in the queue; t3 [3,12)
    4     no room before this edge      0      t1 [4,7)
    5     t2 moves; t3 [5,14)           1
    7                                   0      t2 [7,10)
    12    .                                                     t3 moves, starts in the consumer at 12, ends at 15
    14    t3 moves                      0      t3 [14,17)
    """
    b = TableBuilder()
    producer, consumer = b.compute(4, [1, 1, 1, 9]), b.compute(4, [3])
    b.queue(producer, consumer, depth)
    result = compare_tables(b.tables())
    assert result.end == end
    assert starts(result, producer) == [0, *producer_leaves[:-1]]
    assert leaves(result, producer) == producer_leaves
    assert result.arrivals == [producer_leaves]
    assert starts(result, consumer) == consumer_starts
    assert (result.busy, result.waited, result.queue_peak) == ([12, 12], [waited], [peak])


def test_a_fork_waits_for_its_slow_branch_only_with_the_copy_that_is_left():
    """Source 1 cycle a token, fast branch 1, slow branch 4, both queues of depth 1.

    edge  source                          fast queue -> unit   slow queue -> unit
    0     t0 [0,1)
    1     both copies move; t1 [1,2)      t0 [1,2)             t0 [1,5)
    2     both copies move; t2 [2,3)      t1 [2,3)             holds t1
    3     fast copy moves, slow one not   t2 [3,4)             full
    5                                                          t1 [5,9), freed
    6     slow copy moves, t2 leaves                           holds t2
    9                                                          t2 [9,13)
    Stalled [3,6), blamed on the slow queue.
    """
    b = TableBuilder()
    source, fast, slow = b.compute(3), b.compute(3), b.compute(3, [4])
    b.queue(source, fast)
    b.queue(source, slow)
    result = compare_tables(b.tables())
    assert result.end == 13
    assert (starts(result, source), leaves(result, source)) == ([0, 1, 2], [1, 2, 6])
    assert (starts(result, fast), starts(result, slow)) == ([1, 2, 3], [1, 5, 9])
    assert result.arrivals == [[1, 2, 3], [1, 2, 6]]
    assert (result.busy, result.waited, result.queue_peak) == ([3, 3, 12], [0, 3], [0, 1])


def test_of_two_lanes_that_end_together_the_lower_one_moves_first():
    """Two lanes of 2 cycles, a consumer of 1: at edge 2 t0 moves and t1 waits a cycle, then they alternate.

    lane 0: t0 [0,2) moves at 2; t2 [2,4) moves at 4.   lane 1: t1 [0,2) moves at 3; t3 [3,5) moves at 5.
    """
    b = TableBuilder()
    producer, consumer = b.compute(4, [2], lanes=2), b.compute(4)
    b.queue(producer, consumer, 2)
    result = compare_tables(b.tables())
    assert result.end == 6
    assert [token.lane for token in result.tokens[producer]] == [0, 1, 0, 1]
    assert (starts(result, producer), leaves(result, producer)) == ([0, 0, 2, 3], [2, 3, 4, 5])
    assert (result.busy, result.waited) == ([8, 4], [1])


def test_a_packet_alone_takes_one_cycle_the_heads_of_its_routers_and_its_flits():
    """Start 0, lead 1; two links of 2 cycles each: heads leave at 3 and 5; 3 flits: there at 8 = 1 + 2*2 + 3.

    The first link is busy [1,4), 3 flits; the second takes the head at 3 and is busy [3,6). Both copies of the
    multicast packet move on at 3: the far end at the first link gets it at 3 + 3.
    """
    b = TableBuilder()
    inject, first, second = b.inject(1, span=0), b.link(), b.link()
    head = {"lead": 2, "service": 3, "flits": 3}
    near = b.hop(b.root(inject, lead=1, service=3, flits=3), first, **head)
    b.far_end(near)
    b.far_end(b.hop(near, second, **head))
    result = compare_tables(b.tables())
    assert result.end == 8
    assert [starts(result, unit) for unit in (inject, first, second)] == [[0], [1], [3]]
    assert [leaves(result, unit) for unit in (inject, first, second)] == [[3], [4], [6]]
    assert [result.arrivals[c] for c in (1, 3)] == [[6], [8]]
    assert (result.span_start, result.span_end) == ([[0]], [[8]])


def test_two_flows_share_a_link_in_the_order_of_their_arrival():
    """Interfaces a, b of 3 packets of 3 flits (lead 1, service 3); link lead 2, service 3; queues of depth 1.

    edge  a                       b                       link
    0     a0 [0,3)                b0 [0,3)
    1     a0 in its queue         b0 in its queue         same edge, lower channel: a0 [1,4), there at 1+2+3 = 6
    3     a1 [3,6)                b1 [3,6)
    4     a1 moves                b1: queue held b0       b0 (came at 1) before a1 (came at 4): [4,7), there at 9
    5                             b1 moves
    6     a2 [6,9)                b2 [6,9)
    7     a2: queue held a1       b2: queue holds b1      a1 (4) before b1 (5): [7,10), there at 12
    8     a2 moves
    9     a2 leaves               b2 stalls [9,11)
    10                                                    b1 (5) before a2 (8): [10,13), there at 15
    11                            b2 moves and leaves
    13                                                    a2 (8) before b2 (11): [13,16), there at 18
    16                                                    b2 [16,19), there at 21
    """
    b = TableBuilder()
    interfaces = [b.inject(3, span=0), b.inject(3, span=1)]
    link = b.link()
    hops = []
    for inject in interfaces:
        root = b.root(inject, lead=1, service=3, flits=3)
        hops.append(b.hop(root, link, lead=2, service=3, flits=3))
    ends = [b.far_end(hop) for hop in hops]
    result = compare_tables(b.tables())
    assert result.end == 21
    assert [starts(result, unit) for unit in interfaces] == [[0, 3, 6]] * 2
    assert [leaves(result, unit) for unit in interfaces] == [[3, 6, 9], [3, 6, 11]]
    assert starts(result, link) == [1, 4, 7, 10, 13, 16]
    assert [token.came for token in result.tokens[link]] == [1, 1, 4, 5, 8, 11]
    assert [token.hop for token in result.tokens[link]] == [hops[0], hops[1]] * 3
    assert [result.arrivals[c] for c in ends] == [[6, 12, 18], [9, 15, 21]]
    assert (result.busy, result.waited) == ([9, 9, 18], [0, 2, 0, 0])
    assert (result.queue_peak, result.arrived) == ([1, 1, 0, 0], [3, 3, 3, 3])
    assert result.span_start == [[0, 3, 6], [0, 3, 6]]
    assert result.span_end == [[6, 12, 18], [9, 15, 21]]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize(("depth", "second", "end"), [(1, 4, 10), (2, 1, 9)])
def test_a_slot_is_reserved_an_edge_after_its_use(order, depth, second, end):
    """An interface delivers 2 flits a packet to a consumer of 3 cycles; whoever has the lower number.

    depth 1: p0 [0,1), there at 1 + 2 = 3, used at 3; its slot is reserved at 4: p1 [4,5), there at 7, used [7,10).
    depth 2: p1 [1,2), there at 4; the consumer is free at 6 and works [6,9).
    """
    b = TableBuilder()
    inject, consumer = b.inject(2), b.compute(2, [3])
    b.far_end(b.root(inject, flits=2), consumer, depth)
    result = compare_tables(b.tables(unit_order=order))
    place = order.index(inject)
    assert result.end == end
    assert starts(result, place) == [0, second]
    assert result.arrivals == [[3, second + 3]]
    assert starts(result, 1 - place) == [3, end - 3]
    assert (result.busy[place], result.busy[1 - place], result.waited) == (2, 6, [0])


def receptive_field(depth):
    """Five elements, three windows of three: window j needs j + 3 and frees what no later window uses."""
    b = TableBuilder()
    producer, windows = b.compute(5), b.compute(3, [2])
    b.queue(producer, windows, depth, take=Take((3, 4, 5), (1, 2, 5), 5))
    return b.tables()


@pytest.mark.parametrize(("depth", "last", "waited", "peak"), [(3, 6, 1, 3), (4, 5, 0, 3)])
def test_a_window_starts_with_its_last_element_and_frees_its_first(depth, last, waited, peak):
    """Elements at 1, 2, 3 start window 0 [3,5), which frees element 0; element 3 takes its slot at 4.

    depth 3: element 4 is ready at 5 and finds no slot; window 1 [5,7) frees one, so it arrives at 6 and window 2
    works [7,9). depth 4: it arrives at 5, when window 1 starts and leaves 3; window 2 must still wait for the unit.
    """
    result = compare_tables(receptive_field(depth))
    assert result.end == 9
    assert result.arrivals == [[1, 2, 3, 4, last]]
    assert starts(result, 1) == [3, 5, 7]
    assert (result.busy, result.waited, result.queue_peak) == ([5, 6], [waited], [peak])


def test_a_buffer_smaller_than_a_receptive_field_is_a_deadlock():
    """Two slots: element 2 is ready at edge 3 and waits for the windows, which wait for element 2."""
    result = compare_tables(receptive_field(2))
    assert result.end == 3
    assert result.deadlock == [(0, 1, 0, True), (1, 0, 0, False)]
    assert (result.busy, result.waited, result.served, result.arrived) == ([3, 0], [0], [3, 0], [2])


def test_a_deadlock_reports_the_chain_to_a_unit_that_has_finished():
    """The source emits one element for its two tokens, the second token of the sink needs two."""
    b = TableBuilder()
    source, sink = b.compute(2), b.compute(2)
    b.queue(source, sink, emit=(1, 0))
    result = compare_tables(b.tables())
    assert result.end == 2
    assert result.deadlock == [(sink, source, 0, False)]


def test_an_interface_without_a_slot_to_reserve_waits_for_the_reader():
    """The reader needs two packets at once and has one slot: packet 0 is there at 1 + 1, packet 1 never starts."""
    b = TableBuilder()
    inject, reader = b.inject(2), b.compute(1)
    b.far_end(b.root(inject), reader, 1, take=Take((2,), (2,), 2))
    result = compare_tables(b.tables())
    assert result.end == 2
    assert result.deadlock == [(inject, reader, 0, True), (reader, inject, 0, False)]


#: Its reader takes two elements at once; a channel of one slot never holds them.
PAIR = Take((2,), (2,), 2)


def test_a_report_names_the_lowest_lane_before_the_lowest_channel():
    """Tokens 0, 2 (lane 0) go into channel 1, tokens 1, 3 (lane 1) into channel 0; tokens 2 and 3 stay for ever."""
    b = TableBuilder()
    source, low, high = b.compute(4, lanes=2), b.compute(1), b.compute(1)
    b.queue(source, low, emit=(0, 1), take=PAIR)
    b.queue(source, high, emit=(1, 0), take=PAIR)
    result = compare_tables(b.tables())
    assert [token.lane for token in result.tokens[source]] == [0, 1, 0, 1]
    assert result.deadlock == [(source, high, 1, True), (high, source, 1, False)]


def test_a_report_names_the_lowest_of_several_full_channels():
    """The second copies of a fork, and the second packet of an interface, find no slot in both of their channels."""
    b = TableBuilder()
    source, low, high = b.compute(2), b.compute(1), b.compute(1)
    b.queue(source, low, take=PAIR)
    b.queue(source, high, take=PAIR)
    assert compare_tables(b.tables()).deadlock == [(source, low, 0, True), (low, source, 0, False)]
    b = TableBuilder()
    inject, low, high = b.inject(2), b.compute(1), b.compute(1)
    root = b.root(inject)
    b.far_end(root, low, take=PAIR)
    b.far_end(root, high, take=PAIR)
    assert compare_tables(b.tables()).deadlock == [(inject, low, 0, True), (low, inject, 0, False)]


def test_a_report_names_the_lowest_of_several_empty_channels():
    """A join of two sources that have finished without a word."""
    b = TableBuilder()
    sources, join = [b.compute(1), b.compute(1)], b.compute(1)
    for source in sources:
        b.queue(source, join, emit=(0,))
    assert compare_tables(b.tables()).deadlock == [(join, sources[0], 0, False)]


def test_a_ring_of_two_links_can_deadlock():
    """Flow a takes links 0, 1, flow b links 1, 0; 2 packets each, every service 1, queues of depth 1.

    edge  link 0                                       link 1
    1     a0 [1,2)                                     b0 [1,2)
    2     a0 moves on; a1 and b0 came at 2, the lower  b0 moves on; b1 and a0 came at 2; b1 [2,3)
          channel is a1's: [2,3)
    3     a1: the queue of link 1 still holds a0       b1: the queue of link 0 still holds b0
    The interfaces have finished.
    """
    b = TableBuilder()
    interfaces, links = [b.inject(2), b.inject(2)], [b.link(), b.link()]
    first = [b.hop(b.root(inject), links[i]) for i, inject in enumerate(interfaces)]
    second = [b.hop(first[0], links[1]), b.hop(first[1], links[0])]
    for hop in second:
        b.far_end(hop)
    to_second = [b.hops[hop][3] for hop in second]
    tables = b.tables()
    result = compare_tables(tables)
    assert result.end == 3
    assert result.deadlock == [(links[0], links[1], to_second[0], True), (links[1], links[0], to_second[1], True)]
    assert result.arrived == [2, 2, 1, 1, 0, 0]
    roomy = run_tables(tables._replace(depth=2 * tables.depth))
    assert roomy.deadlock == ()
    assert roomy.arrived.tolist() == [2] * 6


def test_credits_let_a_loop_run():
    """A token of the first unit needs the answer to the one two before it: two may be under way at once.

    first [0,1) [1,2); second [1,4) [4,7); answers at 4 and 7 start the first unit's t2 [4,5) and t3 [7,8), the second
    works [7,10) and [10,13).
    """
    b = TableBuilder()
    first, second = b.compute(4), b.compute(4, [3])
    b.queue(first, second, 4)
    credits = (0, 0, 1, 2)
    b.queue(second, first, 4, take=Take(credits, credits, 0))
    result = compare_tables(b.tables())
    assert result.end == 13
    assert (starts(result, first), starts(result, second)) == ([0, 1, 4, 7], [1, 4, 7, 10])
