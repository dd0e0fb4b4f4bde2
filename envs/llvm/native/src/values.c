/* Hashes of what a module is made of below its functions: types, attributes, constants and
 * metadata. */
#include <stdlib.h>

#include "hash.h"

hash128 type_hash(walk *w, LLVMTypeRef type) {
    const llvm_c *llvm = w->llvm;
    pointer_entry *known = pointer_map_find(&w->memory->lasting, type);
    if (known != NULL)
        return entry_hash(known);
    int kind = llvm->GetTypeKind(type);
    hash128 hash = {1, 1};
    mix(&hash, (uint64_t)kind);
    switch (kind) {
    case TYPE_INTEGER:
        mix(&hash, llvm->GetIntTypeWidth(type));
        break;
    case TYPE_POINTER:
        mix(&hash, llvm->GetPointerAddressSpace(type));
        break;
    case TYPE_ARRAY:
        mix(&hash, llvm->GetArrayLength2(type));
        mix_hash(&hash, type_hash(w, llvm->GetElementType(type)));
        break;
    case TYPE_VECTOR:
    case TYPE_SCALABLE_VECTOR:
        mix(&hash, llvm->GetVectorSize(type));
        mix_hash(&hash, type_hash(w, llvm->GetElementType(type)));
        break;
    case TYPE_STRUCT: {
        const char *name = llvm->GetStructName(type);
        mix(&hash, (uint64_t)llvm->IsPackedStruct(type));
        if (llvm->IsOpaqueStruct(type)) {
            mix_text(&hash, name);
            break;
        }
        /* Identified types of equal layout are distinct; their names are made unique per context,
         * so only the fact of being identified counts. */
        mix(&hash, name != NULL);
        unsigned count = llvm->CountStructElementTypes(type);
        mix(&hash, count);
        for (unsigned i = 0; i < count; i++)
            mix_hash(&hash, type_hash(w, llvm->StructGetTypeAtIndex(type, i)));
        break;
    }
    case TYPE_FUNCTION: {
        unsigned count = llvm->CountParamTypes(type);
        LLVMTypeRef *parameters = malloc((count + 1) * sizeof *parameters);
        if (parameters == NULL)
            abort();
        llvm->GetParamTypes(type, parameters);
        mix(&hash, (uint64_t)llvm->IsFunctionVarArg(type));
        mix(&hash, count);
        mix_hash(&hash, type_hash(w, llvm->GetReturnType(type)));
        for (unsigned i = 0; i < count; i++)
            mix_hash(&hash, type_hash(w, parameters[i]));
        free(parameters);
        break;
    }
    case TYPE_TARGET_EXT: {
        char *text = llvm->PrintTypeToString(type);
        mix_text(&hash, text);
        llvm->DisposeMessage(text);
        break;
    }
    default:
        break;
    }
    return remember(&w->memory->lasting, type, hash, 0);
}

/* The C API gives no access to some attributes (constant ranges): print them on a function made for
 * the purpose. */
static void mix_printed_attribute(walk *w, hash128 *hash, LLVMAttributeRef attribute) {
    const llvm_c *llvm = w->llvm;
    LLVMModuleRef scratch = llvm->ModuleCreateWithNameInContext("", w->context);
    LLVMTypeRef type = llvm->FunctionType(llvm->VoidTypeInContext(w->context), NULL, 0, 0);
    LLVMValueRef function = llvm->AddFunction(scratch, "f", type);
    llvm->AddAttributeAtIndex(function, ATTRIBUTE_RETURN_INDEX, attribute);
    char *text = llvm->PrintValueToString(function);
    mix_text(hash, text);
    llvm->DisposeMessage(text);
    llvm->DisposeModule(scratch);
}

static hash128 attribute_hash(walk *w, LLVMAttributeRef attribute) {
    const llvm_c *llvm = w->llvm;
    pointer_entry *known = pointer_map_find(&w->memory->lasting, attribute);
    if (known != NULL)
        return entry_hash(known);
    hash128 hash = {2, 2};
    unsigned size;
    if (llvm->IsStringAttribute(attribute)) {
        const char *kind = llvm->GetStringAttributeKind(attribute, &size);
        mix_bytes(&hash, kind, size);
        const char *value = llvm->GetStringAttributeValue(attribute, &size);
        mix_bytes(&hash, value, size);
    } else {
        if (llvm->IsTypeAttribute(attribute))
            mix_hash(&hash, type_hash(w, llvm->GetTypeAttributeValue(attribute)));
        else if (llvm->IsEnumAttribute(attribute))
            mix(&hash, llvm->GetEnumAttributeValue(attribute));
        else
            mix_printed_attribute(w, &hash, attribute);
        mix(&hash, llvm->GetEnumAttributeKind(attribute));
    }
    return remember(&w->memory->lasting, attribute, hash, 0);
}

void mix_attributes(walk *w, hash128 *hash, LLVMValueRef owner, unsigned index,
                    unsigned (*count_at)(LLVMValueRef, unsigned),
                    void (*get_at)(LLVMValueRef, unsigned, LLVMAttributeRef *)) {
    LLVMAttributeRef few[32], *attributes = few;
    unsigned count = count_at(owner, index);
    mix(hash, count);
    if (count == 0)
        return;
    if (count > 32 && (attributes = malloc(count * sizeof *attributes)) == NULL)
        abort();
    get_at(owner, index, attributes);
    for (unsigned i = 0; i < count; i++)
        mix_hash(hash, attribute_hash(w, attributes[i]));
    if (attributes != few)
        free(attributes);
}

static void mix_printed_value(walk *w, hash128 *hash, LLVMValueRef value) {
    char *text = w->llvm->PrintValueToString(value);
    mix_text(hash, text);
    w->llvm->DisposeMessage(text);
}

void mix_value(walk *w, hash128 *hash, LLVMValueRef value) {
    if (value == NULL)
        mix(hash, 0);
    else
        mix_hash(hash, entry_hash(value_entry(w, value)));
}

static uint32_t mix_integer(walk *w, hash128 *hash, LLVMTypeRef type, LLVMValueRef value) {
    unsigned width = w->llvm->GetIntTypeWidth(type);
    if (width > 64) {
        char *text = w->llvm->PrintValueToString(value);
        size_t size = strlen(text);
        bool one = size > 2 && strcmp(text + size - 2, " 1") == 0;
        mix_bytes(hash, text, size);
        w->llvm->DisposeMessage(text);
        return (w->llvm->IsNull(value) ? IS_ZERO : 0) | (one ? IS_ONE : 0);
    }
    uint64_t number = w->llvm->ConstIntGetZExtValue(value);
    mix(hash, number);
    return (width == 32 ? IS_INT32 : 0) | (width == 64 ? IS_INT64 : 0) |
           (number == 0 ? IS_ZERO : 0) | (number == 1 ? IS_ONE : 0);
}

static void mix_float(walk *w, hash128 *hash, LLVMValueRef value) {
    LLVMBool loses = 0;
    double number = w->llvm->ConstRealGetDouble(value, &loses);
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    mix(hash, bits);
    if (loses || number != number) /* a double does not say everything about it */
        mix_printed_value(w, hash, value);
}

static void mix_metadata_node(walk *w, hash128 *hash, LLVMValueRef node) {
    unsigned count = w->llvm->GetMDNodeNumOperands(node);
    LLVMValueRef few[16], *operands = few;
    mix(hash, count);
    if (count > 16 && (operands = malloc(count * sizeof *operands)) == NULL)
        abort();
    w->llvm->GetMDNodeOperands(node, operands);
    for (unsigned i = 0; i < count; i++)
        mix_value(w, hash, operands[i]);
    if (operands != few)
        free(operands);
}

/* Nodes may be distinct and refer to themselves (loop identifiers), so each gets its ordinal before
 * its operands are read. */
static const pointer_entry *metadata_entry(walk *w, LLVMValueRef value) {
    hash128 hash = {3, 3};
    if (w->llvm->IsAMDNode(value)) {
        mix(&hash, w->next_metadata++);
        remember(&w->memory->passing, value, hash, 0);
        mix_metadata_node(w, &hash, value);
    } else if (w->llvm->IsAMDString(value)) {
        unsigned size;
        const char *text = w->llvm->GetMDString(value, &size);
        mix_bytes(&hash, text, size);
    } else {
        mix_printed_value(w, &hash, value); /* a value wrapped as metadata */
    }
    return pointer_map_put(&w->memory->passing, value, hash.a, hash.b, 0);
}

/* Constants may refer to each other in circles, and in chains as long as a linked list. */
enum { INITIALIZER_DEPTH = 16 };

/* A global that a function on its own refers to: what holds of it in every module. */
static const pointer_entry *global_entry(walk *w, LLVMValueRef global, int kind) {
    const llvm_c *llvm = w->llvm;
    hash128 hash = {5, global == w->function};
    if (global != w->function && !is_local(llvm, global)) {
        size_t size;
        const char *name = llvm->GetValueName2(global, &size);
        mix_bytes(&hash, name, size);
    } else {
        mix_hash(&hash, type_hash(w, llvm->GlobalGetValueType(global)));
        if (kind == VALUE_GLOBAL_VARIABLE && llvm->IsGlobalConstant(global) &&
            w->depth < INITIALIZER_DEPTH) {
            remember(&w->memory->passing, global, hash, IS_CONSTANT);
            w->depth++;
            mix_value(w, &hash, llvm->GetInitializer(global));
            w->depth--;
        }
    }
    return pointer_map_put(&w->memory->passing, global, hash.a, hash.b, IS_CONSTANT);
}

/* Printed, a block's address names its function. */
static void mix_block_address(walk *w, hash128 *hash, LLVMValueRef address) {
    LLVMValueRef function = w->llvm->GetBlockAddressFunction(address);
    LLVMBasicBlockRef block = w->llvm->GetBlockAddressBasicBlock(address);
    mix_value(w, hash, function);
    if (function == w->function)
        mix_value(w, hash, w->llvm->BasicBlockAsValue(block));
}

/* Constant data is never freed before its context; other constants may be, so their addresses mean
 * nothing after the walk. */
static bool outlives_walk(int kind) {
    switch (kind) {
    case VALUE_UNDEF:
    case VALUE_POISON:
    case VALUE_AGGREGATE_ZERO:
    case VALUE_DATA_ARRAY:
    case VALUE_DATA_VECTOR:
    case VALUE_CONSTANT_INT:
    case VALUE_CONSTANT_FP:
    case VALUE_POINTER_NULL:
    case VALUE_TOKEN_NONE:
    case VALUE_INLINE_ASM:
        return true;
    default:
        return false;
    }
}

static const pointer_entry *constant_entry(walk *w, LLVMValueRef value, int kind) {
    const llvm_c *llvm = w->llvm;
    LLVMTypeRef type = llvm->TypeOf(value);
    uint32_t flags = IS_CONSTANT;
    hash128 hash = {4, 4};
    mix(&hash, (uint64_t)kind);
    mix_hash(&hash, type_hash(w, type));
    switch (kind) {
    case VALUE_CONSTANT_INT:
        /* a splat vector is a ConstantInt of vector type in later versions */
        if (llvm->GetTypeKind(type) == TYPE_INTEGER)
            flags |= mix_integer(w, &hash, type, value);
        else
            mix_printed_value(w, &hash, value);
        break;
    case VALUE_CONSTANT_FP:
        if (llvm->GetTypeKind(type) < TYPE_INTEGER)
            mix_float(w, &hash, value);
        else
            mix_printed_value(w, &hash, value);
        break;
    case VALUE_UNDEF:
    case VALUE_POISON:
    case VALUE_AGGREGATE_ZERO:
    case VALUE_POINTER_NULL:
    case VALUE_TOKEN_NONE:
        break;
    case VALUE_CONSTANT_EXPR: {
        int opcode = llvm->GetConstOpcode(value);
        mix(&hash, (uint64_t)opcode);
        if (opcode == OP_GETELEMENTPTR) {
            mix_hash(&hash, type_hash(w, llvm->GetGEPSourceElementType(value)));
            mix(&hash, llvm->GEPGetNoWrapFlags(value));
        }
    } /* fall through */
    case VALUE_CONSTANT_ARRAY:
    case VALUE_CONSTANT_STRUCT:
    case VALUE_CONSTANT_VECTOR: {
        int count = llvm->GetNumOperands(value);
        for (int i = 0; i < count; i++)
            mix_value(w, &hash, llvm->GetOperand(value, (unsigned)i));
        break;
    }
    case VALUE_BLOCK_ADDRESS:
        if (w->function != NULL) {
            mix_block_address(w, &hash, value);
            break;
        } /* fall through */
    default: /* data arrays and vectors, inline assembly, ... */
        mix_printed_value(w, &hash, value);
        break;
    }
    if (kind == VALUE_INLINE_ASM)
        flags = 0;
    pointer_map *map = outlives_walk(kind) ? &w->memory->lasting : &w->memory->passing;
    return pointer_map_put(map, value, hash.a, hash.b, flags);
}

const pointer_entry *value_entry(walk *w, LLVMValueRef value) {
    const pointer_entry *known = pointer_map_find(&w->memory->passing, value);
    if (known == NULL)
        known = pointer_map_find(&w->memory->lasting, value);
    if (known != NULL)
        return known;
    int kind = w->llvm->GetValueKind(value);
    switch (kind) {
    case VALUE_METADATA:
        return metadata_entry(w, value);
    case VALUE_FUNCTION:
    case VALUE_GLOBAL_ALIAS:
    case VALUE_GLOBAL_IFUNC:
    case VALUE_GLOBAL_VARIABLE:
        if (w->function != NULL)
            return global_entry(w, value, kind);
        break;
    default:
        break;
    }
    return constant_entry(w, value, kind);
}

void mix_metadata_entries(walk *w, LLVMValueMetadataEntry *entries, size_t count) {
    const llvm_c *llvm = w->llvm;
    for (unsigned i = 0; i < count; i++) {
        unsigned kind = llvm->ValueMetadataEntriesGetKind(entries, i);
        if (kind == METADATA_KIND_DEBUG)
            continue;
        LLVMMetadataRef metadata = llvm->ValueMetadataEntriesGetMetadata(entries, i);
        pointer_entry *known = pointer_map_find(&w->memory->passing, metadata);
        mix(&w->hash, kind < w->first_custom_metadata ? kind : w->first_custom_metadata);
        if (known != NULL) {
            mix_hash(&w->hash, entry_hash(known));
            continue;
        }
        hash128 hash = entry_hash(value_entry(w, llvm->MetadataAsValue(w->context, metadata)));
        mix_hash(&w->hash, remember(&w->memory->passing, metadata, hash, 0));
    }
    llvm->DisposeValueMetadataEntries(entries);
}
