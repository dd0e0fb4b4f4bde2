/* What a pass does must depend on the module's text alone, not on how the module came to be:
 * parsed, forked, or transformed by other passes. Three things that the text does not show are put
 * in order here. */
#include <string.h>

#include "internal.h"

/* The attributes of an intrinsic's declaration. LLVM fixes them when it reads a module, but lets
 * passes add to them. */
static bool same_attributes(const llvm_c *llvm, LLVMValueRef function, LLVMValueRef original,
                            unsigned index) {
    LLVMAttributeRef attributes[2][64];
    unsigned count = llvm->GetAttributeCountAtIndex(function, index);
    if (count != llvm->GetAttributeCountAtIndex(original, index) || count > 64)
        return false;
    llvm->GetAttributesAtIndex(function, index, attributes[0]);
    llvm->GetAttributesAtIndex(original, index, attributes[1]);
    return memcmp(attributes[0], attributes[1], count * sizeof **attributes) == 0;
}

static void copy_attributes(const llvm_c *llvm, LLVMValueRef function, LLVMValueRef original,
                            unsigned index) {
    LLVMAttributeRef attributes[256];
    unsigned count = llvm->GetAttributeCountAtIndex(function, index);
    if (count > 256 || llvm->GetAttributeCountAtIndex(original, index) > 256)
        return; /* no intrinsic comes near it */
    llvm->GetAttributesAtIndex(function, index, attributes);
    for (unsigned i = 0; i < count; i++) {
        if (llvm->IsStringAttribute(attributes[i])) {
            unsigned size;
            const char *kind = llvm->GetStringAttributeKind(attributes[i], &size);
            llvm->RemoveStringAttributeAtIndex(function, index, kind, size);
        } else {
            llvm->RemoveEnumAttributeAtIndex(function, index,
                                             llvm->GetEnumAttributeKind(attributes[i]));
        }
    }
    count = llvm->GetAttributeCountAtIndex(original, index);
    llvm->GetAttributesAtIndex(original, index, attributes);
    for (unsigned i = 0; i < count; i++)
        llvm->AddAttributeAtIndex(function, index, attributes[i]);
}

/* A fresh declaration of the intrinsic, as LLVM makes it; kept in a module of their own. */
static LLVMValueRef original_declaration(dojo_session *session, LLVMValueRef intrinsic) {
    const llvm_c *llvm = &session->library->llvm;
    size_t size;
    const char *name = llvm->GetValueName2(intrinsic, &size);
    if (session->intrinsics == NULL)
        session->intrinsics = llvm->ModuleCreateWithNameInContext("", session->context);
    LLVMValueRef original = llvm->GetNamedFunction(session->intrinsics, name);
    LLVMTypeRef type = llvm->GlobalGetValueType(intrinsic);
    return original != NULL ? original : llvm->AddFunction(session->intrinsics, name, type);
}

static void restore_intrinsics(dojo_session *session) {
    const llvm_c *llvm = &session->library->llvm;
    LLVMValueRef f;
    for (f = llvm->GetFirstFunction(session->module); f; f = llvm->GetNextFunction(f)) {
        if (llvm->GetIntrinsicID(f) == 0)
            continue;
        LLVMValueRef original = original_declaration(session, f);
        unsigned parameters = llvm->CountParams(f);
        if (!same_attributes(llvm, f, original, ATTRIBUTE_FUNCTION_INDEX))
            copy_attributes(llvm, f, original, ATTRIBUTE_FUNCTION_INDEX);
        for (unsigned i = ATTRIBUTE_RETURN_INDEX; i <= parameters; i++)
            if (!same_attributes(llvm, f, original, i))
                copy_attributes(llvm, f, original, i);
    }
}

/* The order of a value's uses. Setting an operand, to the value it has already, moves that use to
 * the front. */
static void order_uses(const llvm_c *llvm, LLVMModuleRef module) {
    for (LLVMValueRef f = llvm->GetFirstFunction(module); f; f = llvm->GetNextFunction(f))
        for (LLVMBasicBlockRef b = llvm->GetFirstBasicBlock(f); b; b = llvm->GetNextBasicBlock(b))
            for (LLVMValueRef i = llvm->GetFirstInstruction(b); i;
                 i = llvm->GetNextInstruction(i)) {
                unsigned count = (unsigned)llvm->GetNumOperands(i);
                for (unsigned o = 0; o < count; o++)
                    llvm->SetOperand(i, o, llvm->GetOperand(i, o));
            }
}

void canonicalize(dojo_session *session) {
    restore_intrinsics(session);
    order_uses(&session->library->llvm, session->module);
}

/* Constant expressions that nothing uses any more still count as uses of the globals they mention.
 */
static bool is_stale(const llvm_c *llvm, LLVMValueRef user) {
    switch (llvm->GetValueKind(user)) {
    case VALUE_INSTRUCTION:
    case VALUE_FUNCTION:
    case VALUE_GLOBAL_VARIABLE:
    case VALUE_GLOBAL_ALIAS:
    case VALUE_GLOBAL_IFUNC:
        return false;
    default:
        break;
    }
    for (LLVMUseRef use = llvm->GetFirstUse(user); use; use = llvm->GetNextUse(use))
        if (!is_stale(llvm, llvm->GetUser(use)))
            return false;
    return true;
}

static bool has_stale_use(const llvm_c *llvm, LLVMValueRef global) {
    for (LLVMUseRef use = llvm->GetFirstUse(global); use; use = llvm->GetNextUse(use))
        if (is_stale(llvm, llvm->GetUser(use)))
            return true;
    return false;
}

bool has_stale_constants(const llvm_c *llvm, LLVMModuleRef module) {
    LLVMValueRef global;
    for (global = llvm->GetFirstGlobal(module); global; global = llvm->GetNextGlobal(global))
        if (has_stale_use(llvm, global))
            return true;
    for (global = llvm->GetFirstFunction(module); global; global = llvm->GetNextFunction(global))
        if (has_stale_use(llvm, global))
            return true;
    return false;
}
