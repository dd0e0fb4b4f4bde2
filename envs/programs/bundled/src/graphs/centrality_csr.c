// Graph analytics on a compressed sparse row graph: PageRank, breadth-first eccentricity, Brandes
// betweenness and k-core numbers.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t vid;

typedef struct {
    vid n;
    uint32_t m;
    uint32_t *row; // n + 1 offsets into col
    vid *col;
} CsrGraph;

typedef struct {
    vid from, to;
} Arc;

static int by_from_then_to(const void *pa, const void *pb) {
    const Arc *a = pa, *b = pb;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

void csr_free(CsrGraph *g) {
    free(g->row);
    free(g->col);
    memset(g, 0, sizeof *g);
}

// Builds from arcs in any order (sorts them in place); drops loops and duplicates.
int csr_build(CsrGraph *g, vid n, Arc *arcs, uint32_t count) {
    memset(g, 0, sizeof *g);
    g->row = calloc(n + 1, sizeof *g->row);
    g->col = malloc(sizeof *g->col * (count ? count : 1));
    if (!g->row || !g->col) {
        csr_free(g);
        return -1;
    }
    g->n = n;
    qsort(arcs, count, sizeof *arcs, by_from_then_to);
    for (uint32_t i = 0; i < count; i++) {
        if (arcs[i].from == arcs[i].to || (i > 0 && by_from_then_to(&arcs[i - 1], &arcs[i]) == 0))
            continue;
        g->col[g->m++] = arcs[i].to;
        g->row[arcs[i].from + 1]++;
    }
    for (vid v = 0; v < n; v++)
        g->row[v + 1] += g->row[v];
    return 0;
}

#define FOR_EACH_NEIGHBOUR(g, v, w)                                                                \
    for (uint32_t w##_i = (g)->row[v]; w##_i < (g)->row[(v) + 1]; w##_i++)                         \
        for (vid w = (g)->col[w##_i], w##_once = 1; w##_once; w##_once = 0)

// Returns the number of iterations until the L1 change fell under eps.
int pagerank(const CsrGraph *g, double damping, double eps, double *rank, double *scratch) {
    for (vid v = 0; v < g->n; v++)
        rank[v] = 1.0 / g->n;
    for (int iter = 1; iter <= 200; iter++) {
        double dangling = 0, change = 0;
        memset(scratch, 0, sizeof *scratch * g->n);
        for (vid v = 0; v < g->n; v++) {
            uint32_t degree = g->row[v + 1] - g->row[v];
            if (degree == 0) {
                dangling += rank[v];
                continue;
            }
            double share = rank[v] / degree;
            FOR_EACH_NEIGHBOUR(g, v, w) scratch[w] += share;
        }
        for (vid v = 0; v < g->n; v++) {
            double next = (1 - damping) / g->n + damping * (scratch[v] + dangling / g->n);
            change += next > rank[v] ? next - rank[v] : rank[v] - next;
            rank[v] = next;
        }
        if (change < eps)
            return iter;
    }
    return -1;
}

// Fills order[] with the reached nodes and dist[] with hop counts (-1 if unreached).
static vid bfs(const CsrGraph *g, vid source, int32_t *dist, vid *order) {
    vid reached = 0;
    for (vid v = 0; v < g->n; v++)
        dist[v] = -1;
    dist[source] = 0;
    order[reached++] = source;
    for (vid head = 0; head < reached; head++) {
        FOR_EACH_NEIGHBOUR(g, order[head], w) {
            if (dist[w] < 0) {
                dist[w] = dist[order[head]] + 1;
                order[reached++] = w;
            }
        }
    }
    return reached;
}

// Adds the dependencies of one source to score[]; work holds 2n doubles.
static void brandes_accumulate(const CsrGraph *g, vid source, int32_t *dist, vid *order,
                               double *work, double *score) {
    double *paths = work, *delta = work + g->n;
    vid reached = bfs(g, source, dist, order);
    memset(work, 0, sizeof *work * 2 * g->n);
    paths[source] = 1;
    for (vid i = 0; i < reached; i++)
        FOR_EACH_NEIGHBOUR(g, order[i], w)
    if (dist[w] == dist[order[i]] + 1)
        paths[w] += paths[order[i]];
    for (vid i = reached; i-- > 1;) {
        vid v = order[i];
        FOR_EACH_NEIGHBOUR(g, v, w)
        if (dist[w] == dist[v] + 1)
            delta[v] += paths[v] / paths[w] * (1 + delta[w]);
        score[v] += delta[v];
    }
}

// Peels nodes of the smallest degree; returns the largest core number.
static uint32_t core_numbers(const CsrGraph *g, uint32_t *core, uint8_t *removed) {
    uint32_t k = 0;
    for (vid v = 0; v < g->n; v++) {
        core[v] = g->row[v + 1] - g->row[v];
        removed[v] = 0;
    }
    for (vid round = 0; round < g->n; round++) {
        vid best = g->n;
        for (vid v = 0; v < g->n; v++)
            if (!removed[v] && (best == g->n || core[v] < core[best]))
                best = v;
        if (core[best] > k)
            k = core[best];
        core[best] = k;
        removed[best] = 1;
        FOR_EACH_NEIGHBOUR(g, best, w)
        if (!removed[w] && core[w] > 0)
            core[w]--;
    }
    return k;
}

static uint32_t mix(uint32_t h, uint32_t v) {
    h ^= v * 0xcc9e2d51u;
    h = (h << 13 | h >> 19) * 5u + 0xe6546b64u;
    return h;
}

// Preferential attachment: each new node links to the ends of three random earlier arcs.
static uint32_t grow_network(Arc *arcs, vid n, uint64_t seed) {
    uint32_t count = 0;
    arcs[count++] = (Arc){0, 1};
    arcs[count++] = (Arc){1, 0};
    for (vid v = 2; v < n; v++) {
        uint32_t existing = count;
        for (int k = 0; k < 3; k++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            vid target = arcs[(uint32_t)(seed >> 33) % existing].to;
            arcs[count++] = (Arc){v, target};
            arcs[count++] = (Arc){target, v};
        }
    }
    return count;
}

int main(void) {
    enum { NODES = 96 };
    static Arc arcs[NODES * 6];
    static double rank[NODES], scratch[NODES], score[NODES], work[2 * NODES];
    static int32_t dist[NODES];
    static vid order[NODES];
    static uint32_t core[NODES];
    static uint8_t removed[NODES];
    CsrGraph g;

    if (csr_build(&g, NODES, arcs, grow_network(arcs, NODES, 2024)) != 0)
        return 1;
    int iterations = pagerank(&g, 0.85, 1e-10, rank, scratch);
    int32_t diameter = 0;
    for (vid v = 0; v < g.n; v++) {
        brandes_accumulate(&g, v, dist, order, work, score);
        for (vid w = 0; w < g.n; w++)
            if (dist[w] > diameter)
                diameter = dist[w];
    }
    uint32_t degeneracy = core_numbers(&g, core, removed);

    double total = 0;
    vid top = 0, broker = 0;
    uint32_t checksum = 17;
    for (vid v = 0; v < g.n; v++) {
        total += rank[v];
        if (rank[v] > rank[top])
            top = v;
        if (score[v] > score[broker])
            broker = v;
        checksum = mix(checksum, (uint32_t)(rank[v] * 1e6 + 0.5));
        checksum = mix(checksum, (uint32_t)(score[v] * 64 + 0.5));
        checksum = mix(checksum, core[v]);
    }
    printf("graph %u nodes %u arcs, diameter %d\n", g.n, g.m, diameter);
    printf("pagerank %d iterations, top node %u\n", iterations, top);
    printf("betweenness top node %u, degeneracy %u\n", broker, degeneracy);
    printf("checksum %08x\n", checksum);
    csr_free(&g);
    return iterations > 0 && total > 0.999999 && total < 1.000001 ? 0 : 2;
}
