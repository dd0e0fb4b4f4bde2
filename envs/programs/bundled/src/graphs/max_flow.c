// Dinic's maximum flow on a residual edge list, with bipartite matching as an application.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_NODES 128
#define MAX_EDGES 2048

typedef struct {
    int16_t to, next; // next edge out of the same node, -1 at the end
    int32_t cap;      // residual capacity; edge e ^ 1 is its reverse
} Edge;

static Edge edges[MAX_EDGES];
static int16_t first_edge[MAX_NODES], cursor[MAX_NODES], level[MAX_NODES];
static int edge_count;

static void network_reset(void) {
    memset(first_edge, -1, sizeof first_edge);
    edge_count = 0;
}

static void add_half(int from, int to, int32_t cap) {
    edges[edge_count] = (Edge){(int16_t)to, first_edge[from], cap};
    first_edge[from] = (int16_t)edge_count++;
}

// Silently ignores edges beyond the capacity of the network.
void network_add(int from, int to, int32_t cap) {
    if (edge_count + 2 > MAX_EDGES)
        return;
    add_half(from, to, cap);
    add_half(to, from, 0);
}

static bool build_levels(int source, int sink) {
    int16_t queue[MAX_NODES];
    int head = 0, tail = 0;
    memset(level, -1, sizeof level);
    level[source] = 0;
    queue[tail++] = (int16_t)source;
    while (head < tail) {
        int v = queue[head++];
        for (int e = first_edge[v]; e >= 0; e = edges[e].next) {
            int w = edges[e].to;
            if (edges[e].cap > 0 && level[w] < 0) {
                level[w] = (int16_t)(level[v] + 1);
                queue[tail++] = (int16_t)w;
            }
        }
    }
    return level[sink] >= 0;
}

static int32_t push_flow(int v, int sink, int32_t limit) {
    if (v == sink)
        return limit;
    for (; cursor[v] >= 0; cursor[v] = edges[cursor[v]].next) {
        Edge *e = &edges[cursor[v]];
        if (e->cap <= 0 || level[e->to] != level[v] + 1)
            continue;
        int32_t pushed = push_flow(e->to, sink, e->cap < limit ? e->cap : limit);
        if (pushed > 0) {
            e->cap -= pushed;
            edges[cursor[v] ^ 1].cap += pushed;
            return pushed;
        }
    }
    return 0;
}

int64_t max_flow(int source, int sink) {
    int64_t total = 0;
    while (build_levels(source, sink)) {
        int32_t pushed;
        memcpy(cursor, first_edge, sizeof cursor);
        while ((pushed = push_flow(source, sink, INT32_MAX)) > 0)
            total += pushed;
    }
    return total;
}

// After max_flow() the nodes with a level are the source side of a minimum cut.
static int64_t cut_capacity(void) {
    int64_t sum = 0;
    for (int e = 0; e < edge_count; e += 2) {
        int from = edges[e ^ 1].to, to = edges[e].to;
        if (level[from] >= 0 && level[to] < 0)
            sum += edges[e].cap + edges[e ^ 1].cap;
    }
    return sum;
}

static int rng(int bound) {
    static uint32_t state = 0x9e3779b9u;
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 16) % bound;
}

int main(void) {
    enum { LAYERS = 6, WIDTH = 12, SINK = LAYERS * WIDTH + 1, SIDE = 50 };
    // a layered network
    network_reset();
    for (int i = 1; i <= WIDTH; i++) {
        network_add(0, i, rng(90) + 10);
        network_add((LAYERS - 1) * WIDTH + i, SINK, rng(90) + 10);
    }
    for (int v = 1; v <= (LAYERS - 1) * WIDTH; v++) {
        for (int k = 0; k < 4; k++) {
            int target = (v - 1) / WIDTH * WIDTH + WIDTH + 1 + rng(WIDTH);
            network_add(v, target, rng(40) + 1);
        }
    }
    int64_t flow = max_flow(0, SINK);
    if (flow != cut_capacity())
        return 1;

    // matching: unit capacities from left to right
    network_reset();
    for (int i = 1; i <= SIDE; i++) {
        network_add(0, i, 1);
        network_add(SIDE + i, 2 * SIDE + 1, 1);
        for (int k = 0; k < 2; k++)
            network_add(i, SIDE + 1 + rng(SIDE), 1);
    }
    int64_t matched = max_flow(0, 2 * SIDE + 1);
    uint32_t checksum = (uint32_t)flow;
    for (int e = 0; e < edge_count; e++)
        checksum = (checksum ^ (uint32_t)edges[e].cap) * 16777619u;
    printf("max flow %lld equals min cut\n", (long long)flow);
    printf("matched %lld of %d pairs\n", (long long)matched, SIDE);
    printf("checksum %08x\n", checksum);
    return matched == cut_capacity() ? 0 : 2;
}
