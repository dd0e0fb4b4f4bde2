// Shortest paths over a weighted terrain grid: A* with a binary heap (Dijkstra when the heuristic
// is switched off). Both have to agree on the cost; A* has to expand no more cells.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { W = 48, H = 32, CELLS = W * H, WALL = 0, UNREACHED = INT32_MAX };

typedef struct {
    int32_t priority;
    int32_t cell;
} HeapItem;

typedef struct {
    uint8_t terrain[CELLS]; // cost of entering a cell, WALL if impassable
    int32_t dist[CELLS];
    int32_t parent[CELLS];
    HeapItem heap[CELLS * 4]; // lazy deletion: every edge pushes at most once
    int heap_len, expanded;
} Grid;

static void heap_push(Grid *g, int32_t priority, int32_t cell) {
    int i = g->heap_len++;
    for (; i > 0 && g->heap[(i - 1) / 2].priority > priority; i = (i - 1) / 2)
        g->heap[i] = g->heap[(i - 1) / 2];
    g->heap[i] = (HeapItem){priority, cell};
}

static HeapItem heap_pop(Grid *g) {
    HeapItem top = g->heap[0], last = g->heap[--g->heap_len];
    int i = 0, child;
    while ((child = 2 * i + 1) < g->heap_len) {
        if (child + 1 < g->heap_len && g->heap[child + 1].priority < g->heap[child].priority)
            child++;
        if (g->heap[child].priority >= last.priority)
            break;
        g->heap[i] = g->heap[child];
        i = child;
    }
    g->heap[i] = last;
    return top;
}

static int32_t manhattan(int a, int b) {
    return abs(a % W - b % W) + abs(a / W - b / W);
}

// Returns the cost of the cheapest path, or UNREACHED.
int32_t grid_search(Grid *g, int from, int to, int use_heuristic) {
    static const int8_t dx[4] = {1, 0, -1, 0}, dy[4] = {0, 1, 0, -1};
    for (int i = 0; i < CELLS; i++) {
        g->dist[i] = UNREACHED;
        g->parent[i] = -1;
    }
    g->heap_len = g->expanded = 0;
    g->dist[from] = 0;
    heap_push(g, 0, from);
    while (g->heap_len > 0) {
        HeapItem it = heap_pop(g);
        if (it.cell == to)
            break;
        if (it.priority > g->dist[it.cell] + (use_heuristic ? manhattan(it.cell, to) : 0))
            continue; // a cheaper entry was handled before
        g->expanded++;
        for (int d = 0; d < 4; d++) {
            int x = it.cell % W + dx[d], y = it.cell / W + dy[d], next = y * W + x;
            if (x < 0 || x >= W || y < 0 || y >= H || g->terrain[next] == WALL)
                continue;
            int32_t cost = g->dist[it.cell] + g->terrain[next];
            if (cost < g->dist[next]) {
                g->dist[next] = cost;
                g->parent[next] = it.cell;
                heap_push(g, cost + (use_heuristic ? manhattan(next, to) : 0), next);
            }
        }
    }
    return g->dist[to];
}

int main(void) {
    Grid *g = malloc(sizeof *g);
    if (!g)
        return 1;
    uint32_t rng = 12345, checksum = 0;
    for (int i = 0; i < CELLS; i++) {
        rng = rng * 1664525u + 1013904223u;
        unsigned roll = rng >> 28;
        g->terrain[i] = roll < 4 ? WALL : roll < 12 ? 1 : (uint8_t)(roll - 9);
    }
    g->terrain[0] = g->terrain[CELLS - 1] = 1;

    int32_t exact = grid_search(g, 0, CELLS - 1, 0);
    int dijkstra_expanded = g->expanded;
    int32_t cost = grid_search(g, 0, CELLS - 1, 1);
    int steps = 0;
    for (int c = CELLS - 1; c >= 0; c = g->parent[c], steps++)
        checksum = checksum * 31u + (uint32_t)c;

    printf("dijkstra cost %d expanded %d\n", exact, dijkstra_expanded);
    printf("a-star cost %d expanded %d steps %d\n", cost, g->expanded, steps);
    printf("checksum %08x\n", checksum);
    int ok = cost == exact && cost != UNREACHED && g->expanded <= dijkstra_expanded;
    free(g);
    return ok ? 0 : 2;
}
