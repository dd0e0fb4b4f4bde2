/* The program graph in ProGraML's schema (arXiv 2003.10536): instructions, variables and constants,
 * joined by control, data and call flow. Two walks over each function: one numbers what others
 * refer to, one draws the edges. dojo.h states the schema and the layout.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { KIND_INSTRUCTION = 0, KIND_VARIABLE = 1, KIND_CONSTANT = 2 };
enum { FLOW_CONTROL = 0, FLOW_DATA = 1, FLOW_CALL = 2 };
enum { ROOT = 0, EXTERNAL = -1 };

/* A list of int32, or of rows of them. */
typedef struct int_list {
    int32_t *data;
    size_t size, capacity;
} int_list;

/* What the call edges need to know of a defined function. */
typedef struct function_ends {
    int32_t entry;
    bool visible;
    size_t first_exit, last_exit; /* range of the list of exits */
} function_ends;

typedef struct builder {
    const llvm_c *llvm;
    pointer_map *map; /* value: variable; block: first instruction; function: index of its ends */
    int_list nodes;
    int_list edges; /* rows of source, target, flow, position */
    int_list calls; /* rows of call site, index of the callee's ends or EXTERNAL */
    int_list exits;
    function_ends *functions;
    int32_t function; /* index of the one being walked */
} builder;

static int32_t *append(int_list *list, size_t count) {
    if (list->size + count > list->capacity) {
        list->capacity = list->capacity == 0 ? 4096 : list->capacity * 2;
        list->data = realloc(list->data, list->capacity * sizeof *list->data);
        if (list->data == NULL)
            abort();
    }
    list->size += count;
    return list->data + list->size - count;
}

/* The class of a number in the graph: 0 for 0, then the number of its binary digits. */
static int32_t digits(uint64_t number) {
    return number == 0 ? 0 : 64 - __builtin_clzll(number);
}

static unsigned scalar_bits(const llvm_c *llvm, LLVMTypeRef type, int kind) {
    switch (kind) {
    case TYPE_INTEGER:
        return llvm->GetIntTypeWidth(type);
    case TYPE_HALF:
    case TYPE_BFLOAT:
        return 16;
    case TYPE_FLOAT:
        return 32;
    case TYPE_DOUBLE:
        return 64;
    case TYPE_X86_FP80:
        return 80;
    case TYPE_FP128:
    case TYPE_PPC_FP128:
        return 128;
    default:
        return 0;
    }
}

/* The columns type, element, width and length. */
static void describe_type(const llvm_c *llvm, LLVMTypeRef type, int32_t columns[4]) {
    int kind = llvm->GetTypeKind(type);
    uint64_t length = kind == TYPE_STRUCT ? llvm->CountStructElementTypes(type) : 1;
    columns[0] = kind;
    while (kind == TYPE_ARRAY || kind == TYPE_VECTOR || kind == TYPE_SCALABLE_VECTOR) {
        uint64_t count =
            kind == TYPE_ARRAY ? llvm->GetArrayLength2(type) : llvm->GetVectorSize(type);
        if (__builtin_mul_overflow(length, count, &length))
            length = UINT64_MAX;
        type = llvm->GetElementType(type);
        kind = llvm->GetTypeKind(type);
    }
    columns[1] = kind;
    columns[2] = digits(scalar_bits(llvm, type, kind));
    columns[3] = digits(length);
}

static int32_t add_node(builder *b, int kind, int opcode, LLVMValueRef value) {
    int32_t index = (int32_t)(b->nodes.size / DOJO_GRAPH_NODE_COLUMNS);
    int32_t *row = append(&b->nodes, DOJO_GRAPH_NODE_COLUMNS);
    row[0] = kind;
    row[1] = opcode;
    describe_type(b->llvm, b->llvm->TypeOf(value), row + 2);
    row[6] = b->function;
    return index;
}

static void add_root(builder *b) {
    int32_t *row = append(&b->nodes, DOJO_GRAPH_NODE_COLUMNS);
    memset(row, 0, DOJO_GRAPH_NODE_COLUMNS * sizeof *row);
    row[6] = -1;
}

static void add_edge(builder *b, int32_t source, int32_t target, int flow, unsigned position) {
    int32_t *row = append(&b->edges, 4);
    row[0] = source;
    row[1] = target;
    row[2] = flow;
    row[3] = (int32_t)position;
}

static void remember_index(builder *b, const void *key, int32_t index) {
    pointer_map_put(b->map, key, (uint64_t)index, 0, 0);
}

static int32_t index_of(const builder *b, const void *key) {
    return (int32_t)pointer_map_find(b->map, key)->value[0];
}

/* Instructions and their variables alternate in the order of the text, after the arguments. */
static void number_locals(builder *b, LLVMValueRef function) {
    const llvm_c *llvm = b->llvm;
    for (LLVMValueRef p = llvm->GetFirstParam(function); p; p = llvm->GetNextParam(p))
        if (llvm->GetFirstUse(p) != NULL)
            remember_index(b, p, add_node(b, KIND_VARIABLE, 0, p));
    LLVMBasicBlockRef block;
    for (block = llvm->GetFirstBasicBlock(function); block;
         block = llvm->GetNextBasicBlock(block)) {
        remember_index(b, block, (int32_t)(b->nodes.size / DOJO_GRAPH_NODE_COLUMNS));
        for (LLVMValueRef i = llvm->GetFirstInstruction(block); i;
             i = llvm->GetNextInstruction(i)) {
            add_node(b, KIND_INSTRUCTION, llvm->GetInstructionOpcode(i), i);
            if (llvm->GetFirstUse(i) != NULL)
                remember_index(b, i, add_node(b, KIND_VARIABLE, 0, i));
        }
    }
}

static void add_operand(builder *b, int32_t node, LLVMValueRef operand, unsigned position) {
    int32_t source;
    switch (b->llvm->GetValueKind(operand)) {
    case VALUE_BASIC_BLOCK:
    case VALUE_FUNCTION:
    case VALUE_METADATA:
    case VALUE_INLINE_ASM:
        return;
    case VALUE_ARGUMENT:
    case VALUE_INSTRUCTION:
        source = index_of(b, operand);
        break;
    default:
        source = add_node(b, KIND_CONSTANT, 0, operand);
        break;
    }
    add_edge(b, source, node, FLOW_DATA, position);
}

static void add_operands(builder *b, int32_t node, LLVMValueRef inst, int opcode) {
    const llvm_c *llvm = b->llvm;
    unsigned count = (unsigned)llvm->GetNumOperands(inst);
    for (unsigned o = 0; o < count; o++)
        add_operand(b, node, llvm->GetOperand(inst, o), o);
    /* from LLVM 22 on, case values are no operands; they keep the positions they had before */
    if (opcode == OP_SWITCH && llvm->GetSwitchCaseValue != NULL) {
        count = llvm->GetNumSuccessors(inst);
        for (unsigned s = 1; s < count; s++)
            add_operand(b, node, llvm->GetSwitchCaseValue(inst, s), 2 * s);
    }
}

static void note_call(builder *b, int32_t node, LLVMValueRef call) {
    LLVMValueRef callee = b->llvm->GetCalledValue(call);
    if (b->llvm->GetValueKind(callee) != VALUE_FUNCTION)
        return;
    int32_t *row = append(&b->calls, 2);
    row[0] = node;
    row[1] = index_of(b, callee);
}

static void leave_block(builder *b, int32_t node, LLVMValueRef terminator) {
    unsigned count = b->llvm->GetNumSuccessors(terminator);
    for (unsigned s = 0; s < count; s++)
        add_edge(b, node, index_of(b, b->llvm->GetSuccessor(terminator, s)), FLOW_CONTROL, s);
    if (count == 0)
        *append(&b->exits, 1) = node;
}

static void connect_block(builder *b, LLVMBasicBlockRef block) {
    const llvm_c *llvm = b->llvm;
    int32_t node = index_of(b, block);
    LLVMValueRef inst = llvm->GetFirstInstruction(block);
    while (inst != NULL) {
        int opcode = llvm->GetInstructionOpcode(inst);
        add_operands(b, node, inst, opcode);
        bool used = llvm->GetFirstUse(inst) != NULL;
        if (used)
            add_edge(b, node, node + 1, FLOW_DATA, 0);
        if (opcode == OP_CALL || opcode == OP_INVOKE || opcode == OP_CALLBR)
            note_call(b, node, inst);
        LLVMValueRef next = llvm->GetNextInstruction(inst);
        int32_t next_node = node + 1 + used;
        if (next != NULL)
            add_edge(b, node, next_node, FLOW_CONTROL, 0);
        else
            leave_block(b, node, inst);
        inst = next;
        node = next_node;
    }
}

static void walk_function(builder *b, LLVMValueRef function) {
    const llvm_c *llvm = b->llvm;
    int linkage = llvm->GetLinkage(function);
    function_ends *ends = &b->functions[b->function];
    number_locals(b, function);
    LLVMBasicBlockRef block = llvm->GetFirstBasicBlock(function);
    ends->entry = index_of(b, block);
    ends->visible = linkage != LINKAGE_INTERNAL && linkage != LINKAGE_PRIVATE;
    ends->first_exit = b->exits.size;
    for (; block; block = llvm->GetNextBasicBlock(block))
        connect_block(b, block);
    ends->last_exit = b->exits.size;
}

static void add_call(builder *b, int32_t site, int32_t callee) {
    if (callee == EXTERNAL) {
        add_edge(b, site, ROOT, FLOW_CALL, 0);
        add_edge(b, ROOT, site, FLOW_CALL, 0);
        return;
    }
    const function_ends *ends = &b->functions[callee];
    add_edge(b, site, ends->entry, FLOW_CALL, 0);
    for (size_t e = ends->first_exit; e < ends->last_exit; e++)
        add_edge(b, b->exits.data[e], site, FLOW_CALL, 0);
}

static int32_t number_functions(builder *b, LLVMModuleRef module) {
    const llvm_c *llvm = b->llvm;
    int32_t defined = 0;
    for (LLVMValueRef f = llvm->GetFirstFunction(module); f; f = llvm->GetNextFunction(f))
        remember_index(b, f, llvm->IsDeclaration(f) ? EXTERNAL : defined++);
    return defined;
}

static dojo_graph *pack(const builder *b, int32_t functions) {
    size_t edges = b->edges.size / 4;
    size_t bytes = sizeof(dojo_graph) + b->nodes.size * sizeof(int32_t) +
                   edges * (2 + DOJO_GRAPH_EDGE_COLUMNS) * sizeof(int32_t);
    dojo_graph *graph = malloc(bytes);
    if (graph == NULL)
        abort();
    *graph = (dojo_graph){.bytes = (int64_t)bytes,
                          .nodes = (int64_t)(b->nodes.size / DOJO_GRAPH_NODE_COLUMNS),
                          .edges = (int64_t)edges,
                          .functions = functions};
    int32_t *nodes = (int32_t *)(graph + 1);
    int32_t *links = nodes + b->nodes.size, *features = links + 2 * edges;
    memcpy(nodes, b->nodes.data, b->nodes.size * sizeof *nodes);
    for (size_t e = 0; e < edges; e++) {
        memcpy(links + 2 * e, b->edges.data + 4 * e, 2 * sizeof *links);
        memcpy(features + 2 * e, b->edges.data + 4 * e + 2, 2 * sizeof *features);
    }
    return graph;
}

static dojo_graph *build(dojo_session *session) {
    const llvm_c *llvm = &session->library->llvm;
    builder b = {.llvm = llvm, .map = &session->memory.passing};
    pointer_map_clear(b.map);
    int32_t functions = number_functions(&b, session->module);
    b.functions = calloc((size_t)functions + 1, sizeof *b.functions);
    if (b.functions == NULL)
        abort();
    add_root(&b);
    LLVMValueRef f;
    for (f = llvm->GetFirstFunction(session->module); f; f = llvm->GetNextFunction(f))
        if (!llvm->IsDeclaration(f)) {
            walk_function(&b, f);
            b.function++;
        }
    for (int32_t i = 0; i < functions; i++)
        if (b.functions[i].visible)
            add_call(&b, ROOT, i);
    for (size_t c = 0; c < b.calls.size; c += 2)
        add_call(&b, b.calls.data[c], b.calls.data[c + 1]);
    dojo_graph *graph = pack(&b, functions);
    free(b.nodes.data);
    free(b.edges.data);
    free(b.calls.data);
    free(b.exits.data);
    free(b.functions);
    return graph;
}

dojo_status dojo_session_graph(dojo_session *session, const dojo_graph **out, char **error) {
    if (session->graph == NULL) {
        dojo_status status = dojo_session_materialize(session, error);
        if (status != DOJO_OK)
            return status;
        session->graph = build(session);
    }
    *out = session->graph;
    return DOJO_OK;
}

void graph_drop(dojo_session *session) {
    free(session->graph);
    session->graph = NULL;
}
