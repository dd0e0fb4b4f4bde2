/* Disjoint sets with linking by index and path halving, used to watch a random graph become
   connected. */
#include <stdint.h>
#include <stdio.h>

enum { NODES = 500 };

static int parent[NODES]; /* roots are their own parents */

int find_root(int node) {
    while (parent[node] != node)
        node = parent[node] = parent[parent[node]];
    return node;
}

/* Returns whether the nodes were in different sets. */
int unite(int a, int b) {
    a = find_root(a);
    b = find_root(b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
    return a != b;
}

int main(void) {
    uint32_t seed = 2024, checksum = 0;
    int edges = 0, sets = NODES;
    for (int i = 0; i < NODES; i++)
        parent[i] = i;
    for (; sets > 1; edges++) {
        seed = seed * 1664525u + 1013904223u;
        if (unite((int)(seed >> 20) % NODES, (int)(seed >> 8 & 0xfff) % NODES)) {
            sets--;
            checksum = checksum * 31 + seed;
        }
    }
    printf("connected after %d edges\n", edges);
    printf("checksum %08x\n", checksum);
    return find_root(NODES - 1) != 0;
}
