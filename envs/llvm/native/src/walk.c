/* One walk over a module yields its structural hash, InstCount and Autophase.
 *
 * The hash covers what a pass can see and change: order and content of globals, functions, blocks
 * and instructions, with types, constants, flags, attributes and metadata. It leaves out debug
 * info, the names of local values and symbols, and the addresses of anything, so it is the same in
 * every process. The C API does not show dso_local, code models, sanitizer marks and attributes of
 * variables, names of comdats, ifuncs, inrange and the flags of constant expressions; metadata
 * kinds that LLVM does not define are numbered anew by each context. These are left out too.
 */
#include <stdlib.h>
#include <string.h>

#include "hash.h"

/* The names of local symbols mean nothing, and the numbers that LLVM appends to them depend on what
 * went before. */
static void number_global(walk *w, LLVMValueRef global, uint64_t *next) {
    hash128 hash = {5, (*next)++};
    if (!is_local(w->llvm, global)) {
        size_t size;
        const char *name = w->llvm->GetValueName2(global, &size);
        mix_bytes(&hash, name, size);
    }
    remember(&w->memory->passing, global, hash, IS_CONSTANT);
}

static void number_globals(walk *w, LLVMModuleRef module) {
    const llvm_c *llvm = w->llvm;
    uint64_t next = 0;
    LLVMValueRef global;
    for (global = llvm->GetFirstGlobal(module); global; global = llvm->GetNextGlobal(global))
        number_global(w, global, &next);
    for (global = llvm->GetFirstFunction(module); global; global = llvm->GetNextFunction(global))
        number_global(w, global, &next);
    for (global = llvm->GetFirstGlobalAlias(module); global;
         global = llvm->GetNextGlobalAlias(global))
        number_global(w, global, &next);
}

static void mix_global(walk *w, LLVMValueRef global) {
    const llvm_c *llvm = w->llvm;
    mix_value(w, &w->hash, global);
    mix_hash(&w->hash, type_hash(w, llvm->GlobalGetValueType(global)));
    mix_hash(&w->hash, type_hash(w, llvm->TypeOf(global)));
    mix(&w->hash, (uint64_t)llvm->GetLinkage(global) << 32 |
                      (uint64_t)llvm->GetVisibility(global) << 16 |
                      (uint64_t)llvm->GetUnnamedAddress(global));
}

static void mix_global_object(walk *w, LLVMValueRef global) {
    const llvm_c *llvm = w->llvm;
    mix_global(w, global);
    mix(&w->hash, llvm->GetAlignment(global));
    mix_text(&w->hash, llvm->GetSection(global));
    LLVMComdatRef comdat = llvm->GetComdat(global);
    mix(&w->hash, comdat ? 1 + (uint64_t)llvm->GetComdatSelectionKind(comdat) : 0);
    size_t count = 0;
    LLVMValueMetadataEntry *entries = llvm->GlobalCopyAllMetadata(global, &count);
    mix_metadata_entries(w, entries, count);
}

static void walk_variable(walk *w, LLVMValueRef variable) {
    const llvm_c *llvm = w->llvm;
    mix_global_object(w, variable);
    mix(&w->hash, (uint64_t)llvm->IsGlobalConstant(variable) |
                      (uint64_t)llvm->IsExternallyInitialized(variable) << 1 |
                      (uint64_t)llvm->GetThreadLocalMode(variable) << 2);
    mix_value(w, &w->hash, llvm->GetInitializer(variable));
}

static void number_local(walk *w, const void *key, uint64_t *next) {
    pointer_map_put(&w->memory->passing, key, 6, (*next)++, 0);
}

/* Number arguments, blocks and instructions, and count each block's incoming edges. */
static void number_locals(walk *w, LLVMValueRef function) {
    const llvm_c *llvm = w->llvm;
    uint64_t next = 0, blocks = 0;
    for (LLVMValueRef p = llvm->GetFirstParam(function); p; p = llvm->GetNextParam(p))
        number_local(w, p, &next);
    LLVMBasicBlockRef block;
    for (block = llvm->GetFirstBasicBlock(function); block;
         block = llvm->GetNextBasicBlock(block)) {
        number_local(w, llvm->BasicBlockAsValue(block), &blocks);
        for (LLVMValueRef i = llvm->GetFirstInstruction(block); i; i = llvm->GetNextInstruction(i))
            number_local(w, i, &next);
    }
    walk_memory *memory = w->memory;
    if (memory->predecessors_capacity < blocks) {
        free(memory->predecessors);
        memory->predecessors_capacity = blocks * 2;
        memory->predecessors = malloc(memory->predecessors_capacity * sizeof(unsigned));
        if (memory->predecessors == NULL)
            abort();
    }
    if (blocks > 0)
        memset(memory->predecessors, 0, blocks * sizeof(unsigned));
    for (block = llvm->GetFirstBasicBlock(function); block;
         block = llvm->GetNextBasicBlock(block)) {
        LLVMValueRef terminator = llvm->GetBasicBlockTerminator(block);
        unsigned count = llvm->GetNumSuccessors(terminator);
        for (unsigned s = 0; s < count; s++) {
            LLVMValueRef successor = llvm->BasicBlockAsValue(llvm->GetSuccessor(terminator, s));
            memory->predecessors[pointer_map_find(&memory->passing, successor)->value[1]]++;
        }
    }
}

static unsigned predecessors_of(walk *w, LLVMBasicBlockRef block) {
    LLVMValueRef value = w->llvm->BasicBlockAsValue(block);
    return w->memory->predecessors[pointer_map_find(&w->memory->passing, value)->value[1]];
}

/* What tells two instructions of the same opcode, type and operands apart. */
static void mix_details(walk *w, LLVMValueRef inst, int opcode) {
    const llvm_c *llvm = w->llvm;
    hash128 *hash = &w->hash;
    switch (opcode) {
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_SHL:
    case OP_TRUNC:
        mix(hash, (uint64_t)llvm->GetNUW(inst) | (uint64_t)llvm->GetNSW(inst) << 1);
        break;
    case OP_UDIV:
    case OP_SDIV:
    case OP_LSHR:
    case OP_ASHR:
        mix(hash, (uint64_t)llvm->GetExact(inst));
        break;
    case OP_OR:
        mix(hash, (uint64_t)llvm->GetIsDisjoint(inst));
        break;
    case OP_ZEXT:
    case OP_UITOFP:
        mix(hash, (uint64_t)llvm->GetNNeg(inst));
        break;
    case OP_ICMP:
        mix(hash, (uint64_t)llvm->GetICmpPredicate(inst));
        if (llvm->GetICmpSameSign != NULL)
            mix(hash, (uint64_t)llvm->GetICmpSameSign(inst));
        break;
    case OP_FCMP:
        mix(hash, (uint64_t)llvm->GetFCmpPredicate(inst));
        break;
    case OP_GETELEMENTPTR:
        mix_hash(hash, type_hash(w, llvm->GetGEPSourceElementType(inst)));
        mix(hash, llvm->GEPGetNoWrapFlags(inst));
        break;
    case OP_ALLOCA:
        mix_hash(hash, type_hash(w, llvm->GetAllocatedType(inst)));
        mix(hash, llvm->GetAlignment(inst));
        break;
    case OP_LOAD:
    case OP_STORE:
        if (llvm->GetOrdering(inst) != ORDERING_NOT_ATOMIC)
            mix(hash, (uint64_t)llvm->IsAtomicSingleThread(inst));
        mix(hash, (uint64_t)llvm->GetAlignment(inst) << 32 |
                      (uint64_t)llvm->GetVolatile(inst) << 16 | (uint64_t)llvm->GetOrdering(inst));
        break;
    case OP_ATOMICRMW:
        mix(hash, (uint64_t)llvm->GetAtomicRMWBinOp(inst) << 32 |
                      (uint64_t)llvm->GetVolatile(inst) << 16 | (uint64_t)llvm->GetOrdering(inst));
        mix(hash,
            (uint64_t)llvm->GetAlignment(inst) << 1 | (uint64_t)llvm->IsAtomicSingleThread(inst));
        break;
    case OP_ATOMICCMPXCHG:
        mix(hash, (uint64_t)llvm->GetWeak(inst) << 32 | (uint64_t)llvm->GetVolatile(inst) << 24 |
                      (uint64_t)llvm->GetCmpXchgSuccessOrdering(inst) << 8 |
                      (uint64_t)llvm->GetCmpXchgFailureOrdering(inst));
        mix(hash,
            (uint64_t)llvm->GetAlignment(inst) << 1 | (uint64_t)llvm->IsAtomicSingleThread(inst));
        break;
    case OP_FENCE:
        mix(hash,
            (uint64_t)llvm->GetOrdering(inst) << 1 | (uint64_t)llvm->IsAtomicSingleThread(inst));
        break;
    case OP_EXTRACTVALUE:
    case OP_INSERTVALUE: {
        unsigned count = llvm->GetNumIndices(inst);
        const unsigned *indices = llvm->GetIndices(inst);
        for (unsigned i = 0; i < count; i++)
            mix(hash, indices[i]);
        break;
    }
    case OP_SHUFFLEVECTOR: {
        unsigned count = llvm->GetNumMaskElements(inst);
        for (unsigned i = 0; i < count; i++)
            mix(hash, (uint64_t)(int64_t)llvm->GetMaskValue(inst, i));
        break;
    }
    case OP_LANDINGPAD:
        mix(hash, (uint64_t)llvm->IsCleanup(inst));
        break;
    case OP_SWITCH:
        if (llvm->GetSwitchCaseValue != NULL) { /* from LLVM 22 on, case values are no operands */
            unsigned count = llvm->GetNumSuccessors(inst);
            for (unsigned s = 1; s < count; s++)
                mix_value(w, hash, llvm->GetSwitchCaseValue(inst, s));
        }
        break;
    default:
        break;
    }
    if (llvm->CanValueUseFastMathFlags(inst))
        mix(hash, llvm->GetFastMathFlags(inst));
}

static void mix_call(walk *w, LLVMValueRef call, int opcode) {
    const llvm_c *llvm = w->llvm;
    mix(&w->hash, (uint64_t)llvm->GetInstructionCallConv(call) << 8 |
                      (opcode == OP_CALL ? (uint64_t)llvm->GetTailCallKind(call) : 0));
    mix_hash(&w->hash, type_hash(w, llvm->GetCalledFunctionType(call)));
    mix_attributes(w, &w->hash, call, ATTRIBUTE_FUNCTION_INDEX, llvm->GetCallSiteAttributeCount,
                   llvm->GetCallSiteAttributes);
    unsigned arguments = llvm->GetNumArgOperands(call);
    for (unsigned i = ATTRIBUTE_RETURN_INDEX; i <= arguments; i++)
        mix_attributes(w, &w->hash, call, i, llvm->GetCallSiteAttributeCount,
                       llvm->GetCallSiteAttributes);
    unsigned bundles = llvm->GetNumOperandBundles(call);
    for (unsigned i = 0; i < bundles; i++) {
        size_t size;
        LLVMOperandBundleRef bundle = llvm->GetOperandBundleAtIndex(call, i);
        const char *tag = llvm->GetOperandBundleTag(bundle, &size);
        mix_bytes(&w->hash, tag, size);
        mix(&w->hash, llvm->GetNumOperandBundleArgs(bundle));
        llvm->DisposeOperandBundle(bundle);
    }
}

static void count_constant(walk *w, uint32_t flags) {
    int64_t *autophase = w->state->autophase;
    autophase[19] += (flags & IS_INT32) != 0;
    autophase[20] += (flags & IS_INT64) != 0;
    autophase[21] += (flags & IS_ZERO) != 0;
    autophase[22] += (flags & IS_ONE) != 0;
}

static bool is_binary_operator(int opcode) {
    return opcode >= OP_ADD && opcode <= OP_XOR;
}

/* Opcode counts in InstCount follow Instruction.def; the C API numbers opcodes in another order. */
static const unsigned char INSTCOUNT_INDEX[OP_COUNT] = {
    [OP_RET] = 3,
    [OP_BR] = 4,
    [OP_SWITCH] = 5,
    [OP_INDIRECTBR] = 6,
    [OP_INVOKE] = 7,
    [OP_RESUME] = 8,
    [OP_UNREACHABLE] = 9,
    [OP_CLEANUPRET] = 10,
    [OP_CATCHRET] = 11,
    [OP_CATCHSWITCH] = 12,
    [OP_CALLBR] = 13,
    [OP_FNEG] = 14,
    [OP_ADD] = 15,
    [OP_FADD] = 16,
    [OP_SUB] = 17,
    [OP_FSUB] = 18,
    [OP_MUL] = 19,
    [OP_FMUL] = 20,
    [OP_UDIV] = 21,
    [OP_SDIV] = 22,
    [OP_FDIV] = 23,
    [OP_UREM] = 24,
    [OP_SREM] = 25,
    [OP_FREM] = 26,
    [OP_SHL] = 27,
    [OP_LSHR] = 28,
    [OP_ASHR] = 29,
    [OP_AND] = 30,
    [OP_OR] = 31,
    [OP_XOR] = 32,
    [OP_ALLOCA] = 33,
    [OP_LOAD] = 34,
    [OP_STORE] = 35,
    [OP_GETELEMENTPTR] = 36,
    [OP_FENCE] = 37,
    [OP_ATOMICCMPXCHG] = 38,
    [OP_ATOMICRMW] = 39,
    [OP_TRUNC] = 40,
    [OP_ZEXT] = 41,
    [OP_SEXT] = 42,
    [OP_FPTOUI] = 43,
    [OP_FPTOSI] = 44,
    [OP_UITOFP] = 45,
    [OP_SITOFP] = 46,
    [OP_FPTRUNC] = 47,
    [OP_FPEXT] = 48,
    [OP_PTRTOINT] = 49,
    [OP_INTTOPTR] = 50,
    [OP_BITCAST] = 51,
    [OP_ADDRSPACECAST] = 52,
    [OP_CLEANUPPAD] = 53,
    [OP_CATCHPAD] = 54,
    [OP_ICMP] = 55,
    [OP_FCMP] = 56,
    [OP_PHI] = 57,
    [OP_CALL] = 58,
    [OP_SELECT] = 59,
    [OP_USEROP1] = 60,
    [OP_USEROP2] = 61,
    [OP_VAARG] = 62,
    [OP_EXTRACTELEMENT] = 63,
    [OP_INSERTELEMENT] = 64,
    [OP_SHUFFLEVECTOR] = 65,
    [OP_EXTRACTVALUE] = 66,
    [OP_INSERTVALUE] = 67,
    [OP_LANDINGPAD] = 68,
    [OP_FREEZE] = 69,
};

static void count_call(walk *w, LLVMValueRef call) {
    const llvm_c *llvm = w->llvm;
    LLVMValueRef callee = llvm->GetCalledValue(call);
    if (llvm->GetValueKind(callee) != VALUE_FUNCTION)
        return;
    LLVMTypeRef type = llvm->GetCalledFunctionType(call);
    if (type == llvm->GlobalGetValueType(callee) &&
        llvm->GetTypeKind(llvm->GetReturnType(type)) == TYPE_INTEGER)
        w->state->autophase[16]++;
}

static void walk_instruction(walk *w, LLVMValueRef inst, int opcode) {
    const llvm_c *llvm = w->llvm;
    hash128 *hash = &w->hash;
    int count = llvm->GetNumOperands(inst);
    mix(hash, (uint64_t)opcode << 32 | (uint64_t)count);
    mix_hash(hash, type_hash(w, llvm->TypeOf(inst)));
    bool constant_operand = false;
    for (int i = 0; i < count; i++) {
        const pointer_entry *operand = value_entry(w, llvm->GetOperand(inst, (unsigned)i));
        mix_hash(hash, entry_hash(operand));
        constant_operand |= (operand->flags & IS_CONSTANT) != 0;
        count_constant(w, operand->flags);
    }
    if (is_binary_operator(opcode))
        w->state->autophase[24] += constant_operand;
    mix_details(w, inst, opcode);
    if (opcode == OP_PHI)
        for (int i = 0; i < count; i++)
            mix_value(w, hash, llvm->BasicBlockAsValue(llvm->GetIncomingBlock(inst, (unsigned)i)));
    if (opcode == OP_CALL || opcode == OP_INVOKE || opcode == OP_CALLBR)
        mix_call(w, inst, opcode);
    if (opcode == OP_CALL)
        count_call(w, inst);
    if (w->function == NULL && llvm->HasMetadata(inst)) {
        size_t entries = 0;
        LLVMValueMetadataEntry *metadata =
            llvm->InstructionGetAllMetadataOtherThanDebugLoc(inst, &entries);
        mix_metadata_entries(w, metadata, entries);
    }
    if (opcode < OP_COUNT)
        w->state->instcount[INSTCOUNT_INDEX[opcode]]++;
}

/* The control-flow features of one block. */
static void count_edges(walk *w, LLVMBasicBlockRef block) {
    const llvm_c *llvm = w->llvm;
    int64_t *autophase = w->state->autophase;
    LLVMValueRef terminator = llvm->GetBasicBlockTerminator(block);
    unsigned successors = llvm->GetNumSuccessors(terminator);
    unsigned predecessors = predecessors_of(w, block);
    autophase[2] += predecessors == 1;
    autophase[3] += predecessors == 1 && successors == 1;
    autophase[4] += predecessors == 1 && successors == 2;
    autophase[5] += successors == 1;
    autophase[6] += predecessors == 2;
    autophase[7] += predecessors == 2 && successors == 1;
    autophase[8] += predecessors == 2 && successors == 2;
    autophase[9] += successors == 2;
    autophase[10] += predecessors > 2;
    autophase[18] += successors;
    if (successors > 1)
        for (unsigned s = 0; s < successors; s++)
            autophase[17] += predecessors_of(w, llvm->GetSuccessor(terminator, s)) > 1;
    if (llvm->GetInstructionOpcode(terminator) == OP_BR)
        autophase[23] += successors == 1;
}

static void walk_block(walk *w, LLVMBasicBlockRef block) {
    const llvm_c *llvm = w->llvm;
    int64_t *autophase = w->state->autophase;
    int64_t size = 0, phis = 0, phi_values = 0;
    mix(&w->hash, 7);
    count_edges(w, block);
    LLVMValueRef inst = llvm->GetFirstInstruction(block);
    autophase[14] += llvm->GetInstructionOpcode(inst) == OP_PHI;
    for (; inst != NULL; inst = llvm->GetNextInstruction(inst)) {
        int opcode = llvm->GetInstructionOpcode(inst);
        walk_instruction(w, inst, opcode);
        size++;
        if (opcode == OP_PHI) {
            phis++;
            phi_values += llvm->GetNumOperands(inst);
        }
    }
    autophase[0] += phi_values > 5;
    autophase[1] += phi_values >= 1 && phi_values <= 5;
    autophase[11] += phis >= 1 && phis <= 3;
    autophase[12] += phis > 3;
    autophase[13] += phis == 0;
    autophase[29] += size >= 15 && size <= 500;
    autophase[30] += size < 15;
    autophase[54] += phi_values;
    w->state->instcount[0] += size;
    w->state->instcount[1]++;
}

void walk_function(walk *w, LLVMValueRef function) {
    const llvm_c *llvm = w->llvm;
    mix(&w->hash, llvm->GetFunctionCallConv(function));
    mix_text(&w->hash, llvm->GetGC(function));
    if (llvm->HasPersonalityFn(function))
        mix_value(w, &w->hash, llvm->GetPersonalityFn(function));
    if (llvm->HasPrefixData(function))
        mix_value(w, &w->hash, llvm->GetPrefixData(function));
    if (llvm->HasPrologueData(function))
        mix_value(w, &w->hash, llvm->GetPrologueData(function));
    mix_attributes(w, &w->hash, function, ATTRIBUTE_FUNCTION_INDEX, llvm->GetAttributeCountAtIndex,
                   llvm->GetAttributesAtIndex);
    unsigned parameters = llvm->CountParams(function);
    for (unsigned i = ATTRIBUTE_RETURN_INDEX; i <= parameters; i++)
        mix_attributes(w, &w->hash, function, i, llvm->GetAttributeCountAtIndex,
                       llvm->GetAttributesAtIndex);
    w->state->autophase[53]++;
    if (llvm->IsDeclaration(function))
        return;
    w->state->instcount[2]++;
    number_locals(w, function);
    LLVMBasicBlockRef block;
    for (block = llvm->GetFirstBasicBlock(function); block; block = llvm->GetNextBasicBlock(block))
        walk_block(w, block);
}

/* Autophase features that are sums of opcode counts. */
static void derive_autophase(dojo_state *state) {
    static const struct {
        unsigned char feature, opcode;
    } copies[] = {
        {15, OP_BR},     {25, OP_ASHR},  {26, OP_ADD},
        {27, OP_ALLOCA}, {28, OP_AND},   {31, OP_BITCAST},
        {32, OP_BR},     {33, OP_CALL},  {34, OP_GETELEMENTPTR},
        {35, OP_ICMP},   {36, OP_LSHR},  {37, OP_LOAD},
        {38, OP_MUL},    {39, OP_OR},    {40, OP_PHI},
        {41, OP_RET},    {42, OP_SEXT},  {43, OP_SELECT},
        {44, OP_SHL},    {45, OP_STORE}, {46, OP_SUB},
        {47, OP_TRUNC},  {48, OP_XOR},   {49, OP_ZEXT},
    };
    static const unsigned char memory[] = {OP_GETELEMENTPTR, OP_LOAD,   OP_STORE,
                                           OP_CALL,          OP_INVOKE, OP_ALLOCA};
    static const unsigned char unary[] = {
        OP_TRUNC,        OP_ZEXT,    OP_SEXT,          OP_FPTOUI, OP_FPTOSI,
        OP_UITOFP,       OP_SITOFP,  OP_FPTRUNC,       OP_FPEXT,  OP_PTRTOINT,
        OP_INTTOPTR,     OP_BITCAST, OP_ADDRSPACECAST, OP_LOAD,   OP_ALLOCA,
        OP_EXTRACTVALUE, OP_VAARG,   OP_FNEG,          OP_FREEZE,
    };
    int64_t *autophase = state->autophase;
    const int64_t *instcount = state->instcount;
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++)
        autophase[copies[i].feature] = instcount[INSTCOUNT_INDEX[copies[i].opcode]];
    for (size_t i = 0; i < sizeof memory; i++)
        autophase[52] += instcount[INSTCOUNT_INDEX[memory[i]]];
    for (size_t i = 0; i < sizeof unary; i++)
        autophase[55] += instcount[INSTCOUNT_INDEX[unary[i]]];
    autophase[50] = instcount[1];
    autophase[51] = instcount[0];
    float scale = 1.0f / (float)(instcount[0] > 0 ? instcount[0] : 1);
    for (size_t i = 0; i < DOJO_AUTOPHASE_SIZE; i++) {
        float share = (float)autophase[i] * scale;
        state->autophase_shares[i] = share < 1.0f ? share : 1.0f;
    }
}

static void walk_named_metadata(walk *w, LLVMModuleRef module) {
    const llvm_c *llvm = w->llvm;
    LLVMNamedMDNodeRef named;
    for (named = llvm->GetFirstNamedMetadata(module); named;
         named = llvm->GetNextNamedMetadata(named)) {
        size_t size;
        const char *name = llvm->GetNamedMetadataName(named, &size);
        if (size >= 9 && memcmp(name, "llvm.dbg.", 9) == 0)
            continue;
        mix_bytes(&w->hash, name, size);
        unsigned count = llvm->GetNamedMetadataNumOperands(module, name);
        LLVMValueRef *operands = malloc((count + 1) * sizeof *operands);
        if (operands == NULL)
            abort();
        llvm->GetNamedMetadataOperands(module, name, operands);
        for (unsigned i = 0; i < count; i++)
            mix_value(w, &w->hash, operands[i]);
        free(operands);
    }
}

void walk_module(dojo_session *session) {
    const llvm_c *llvm = &session->library->llvm;
    LLVMModuleRef module = session->module;
    walk_memory *memory = &session->memory;
    dojo_state *state = &session->state;
    walk w = {.llvm = llvm,
              .context = session->context,
              .memory = memory,
              .state = state,
              .first_custom_metadata = session->library->first_custom_metadata,
              .next_metadata = 1};
    if (memory->lasting.generation == 0)
        memory->lasting.generation = 1;
    pointer_map_clear(&memory->passing);
    memset(state->instcount, 0, sizeof state->instcount);
    memset(state->autophase, 0, sizeof state->autophase);

    size_t size;
    const char *assembly = llvm->GetModuleInlineAsm(module, &size);
    mix_text(&w.hash, llvm->GetTarget(module));
    mix_text(&w.hash, llvm->GetDataLayoutStr(module));
    mix_bytes(&w.hash, assembly, size);
    number_globals(&w, module);
    LLVMValueRef global;
    for (global = llvm->GetFirstGlobal(module); global; global = llvm->GetNextGlobal(global))
        walk_variable(&w, global);
    for (global = llvm->GetFirstGlobalAlias(module); global;
         global = llvm->GetNextGlobalAlias(global)) {
        mix_global(&w, global);
        mix_value(&w, &w.hash, llvm->AliasGetAliasee(global));
    }
    for (global = llvm->GetFirstFunction(module); global; global = llvm->GetNextFunction(global)) {
        mix_global_object(&w, global);
        walk_function(&w, global);
    }
    walk_named_metadata(&w, module);
    derive_autophase(state);
    state->hash[0] = w.hash.a;
    state->hash[1] = w.hash.b;
}

void walk_memory_free(walk_memory *memory) {
    pointer_map_free(&memory->lasting);
    pointer_map_free(&memory->passing);
    free(memory->predecessors);
}
