/* The part of the LLVM-C API that the core uses: names, prototypes and enumerators that are stable
 * from LLVM 19 on.
 *
 * LLVM_C_FUNCTIONS lists what every supported libLLVM must export; LLVM_C_OPTIONAL what may be
 * missing (a NULL pointer then); LLVM_C_JIT what dojo_jit_open needs. Each entry is X(return type,
 * name without the LLVM prefix, parameters).
 */
#ifndef DOJO_LLVM_C_H
#define DOJO_LLVM_C_H

#include <stddef.h>
#include <stdint.h>

typedef struct LLVMOpaqueContext *LLVMContextRef;
typedef struct LLVMOpaqueModule *LLVMModuleRef;
typedef struct LLVMOpaqueType *LLVMTypeRef;
typedef struct LLVMOpaqueValue *LLVMValueRef;
typedef struct LLVMOpaqueBasicBlock *LLVMBasicBlockRef;
typedef struct LLVMOpaqueMetadata *LLVMMetadataRef;
typedef struct LLVMOpaqueNamedMDNode *LLVMNamedMDNodeRef;
typedef struct LLVMOpaqueAttribute *LLVMAttributeRef;
typedef struct LLVMOpaqueUse *LLVMUseRef;
typedef struct LLVMOpaqueMemoryBuffer *LLVMMemoryBufferRef;
typedef struct LLVMOpaqueDiagnosticInfo *LLVMDiagnosticInfoRef;
typedef struct LLVMOpaqueError *LLVMErrorRef;
typedef struct LLVMOpaquePassBuilderOptions *LLVMPassBuilderOptionsRef;
typedef struct LLVMTarget *LLVMTargetRef;
typedef struct LLVMOpaqueTargetMachine *LLVMTargetMachineRef;
typedef struct LLVMOpaqueBinary *LLVMBinaryRef;
typedef struct LLVMOpaqueSectionIterator *LLVMSectionIteratorRef;
typedef struct LLVMOpaqueValueMetadataEntry LLVMValueMetadataEntry;
typedef struct LLVMOpaqueOperandBundle *LLVMOperandBundleRef;
typedef struct LLVMComdat *LLVMComdatRef;
typedef struct LLVMOpaqueTargetData *LLVMTargetDataRef;
typedef struct LLVMOrcOpaqueLLJIT *LLVMOrcLLJITRef;
typedef struct LLVMOrcOpaqueLLJITBuilder *LLVMOrcLLJITBuilderRef;
typedef struct LLVMOrcOpaqueExecutionSession *LLVMOrcExecutionSessionRef;
typedef struct LLVMOrcOpaqueJITDylib *LLVMOrcJITDylibRef;
typedef struct LLVMOrcOpaqueDefinitionGenerator *LLVMOrcDefinitionGeneratorRef;
typedef struct LLVMOrcOpaqueSymbolStringPoolEntry *LLVMOrcSymbolStringPoolEntryRef;
typedef int LLVMBool;
typedef void (*LLVMDiagnosticHandler)(LLVMDiagnosticInfoRef, void *);
typedef void (*LLVMOrcErrorReporterFunction)(void *, LLVMErrorRef);
typedef struct {
    LLVMOrcJITDylibRef library;
    int flags;
} LLVMOrcCJITDylibSearchOrderElement;
typedef struct {
    LLVMOrcSymbolStringPoolEntryRef name;
    int flags;
} LLVMOrcCLookupSetElement;
typedef struct {
    LLVMOrcSymbolStringPoolEntryRef name;
    struct {
        uint64_t address;
        uint8_t generic_flags, target_flags;
    } symbol;
} LLVMOrcCSymbolMapPair;
typedef void (*LLVMOrcExecutionSessionLookupHandleResultFunction)(LLVMErrorRef,
                                                                  LLVMOrcCSymbolMapPair *, size_t,
                                                                  void *);

enum { DIAGNOSTIC_ERROR = 0 };
enum { VERIFIER_RETURN_STATUS = 2 };
enum { CODEGEN_LEVEL_DEFAULT = 2, RELOC_PIC = 2, CODE_MODEL_DEFAULT = 0, OBJECT_FILE = 1 };
enum { ASSEMBLY_FILE = 0 };
enum { ORC_LOOKUP_STATIC = 0, ORC_MATCH_ALL_SYMBOLS = 1, ORC_REQUIRED_SYMBOL = 0 };
enum { ATTRIBUTE_RETURN_INDEX = 0 };
#define ATTRIBUTE_FUNCTION_INDEX (~0u)
enum { METADATA_KIND_DEBUG = 0 };
enum { LINKAGE_INTERNAL = 8, LINKAGE_PRIVATE = 9 };
enum { ORDERING_NOT_ATOMIC = 0 };

/* LLVMOpcode */
enum {
    OP_RET = 1,
    OP_BR = 2,
    OP_SWITCH = 3,
    OP_INDIRECTBR = 4,
    OP_INVOKE = 5,
    OP_UNREACHABLE = 7,
    OP_ADD = 8,
    OP_FADD = 9,
    OP_SUB = 10,
    OP_FSUB = 11,
    OP_MUL = 12,
    OP_FMUL = 13,
    OP_UDIV = 14,
    OP_SDIV = 15,
    OP_FDIV = 16,
    OP_UREM = 17,
    OP_SREM = 18,
    OP_FREM = 19,
    OP_SHL = 20,
    OP_LSHR = 21,
    OP_ASHR = 22,
    OP_AND = 23,
    OP_OR = 24,
    OP_XOR = 25,
    OP_ALLOCA = 26,
    OP_LOAD = 27,
    OP_STORE = 28,
    OP_GETELEMENTPTR = 29,
    OP_TRUNC = 30,
    OP_ZEXT = 31,
    OP_SEXT = 32,
    OP_FPTOUI = 33,
    OP_FPTOSI = 34,
    OP_UITOFP = 35,
    OP_SITOFP = 36,
    OP_FPTRUNC = 37,
    OP_FPEXT = 38,
    OP_PTRTOINT = 39,
    OP_INTTOPTR = 40,
    OP_BITCAST = 41,
    OP_ICMP = 42,
    OP_FCMP = 43,
    OP_PHI = 44,
    OP_CALL = 45,
    OP_SELECT = 46,
    OP_USEROP1 = 47,
    OP_USEROP2 = 48,
    OP_VAARG = 49,
    OP_EXTRACTELEMENT = 50,
    OP_INSERTELEMENT = 51,
    OP_SHUFFLEVECTOR = 52,
    OP_EXTRACTVALUE = 53,
    OP_INSERTVALUE = 54,
    OP_FENCE = 55,
    OP_ATOMICCMPXCHG = 56,
    OP_ATOMICRMW = 57,
    OP_RESUME = 58,
    OP_LANDINGPAD = 59,
    OP_ADDRSPACECAST = 60,
    OP_CLEANUPRET = 61,
    OP_CATCHRET = 62,
    OP_CATCHPAD = 63,
    OP_CLEANUPPAD = 64,
    OP_CATCHSWITCH = 65,
    OP_FNEG = 66,
    OP_CALLBR = 67,
    OP_FREEZE = 68,
    OP_COUNT = 72, /* room for opcodes of later versions */
};

/* LLVMValueKind */
enum {
    VALUE_ARGUMENT = 0,
    VALUE_BASIC_BLOCK = 1,
    VALUE_FUNCTION = 5,
    VALUE_GLOBAL_ALIAS = 6,
    VALUE_GLOBAL_IFUNC = 7,
    VALUE_GLOBAL_VARIABLE = 8,
    VALUE_BLOCK_ADDRESS = 9,
    VALUE_CONSTANT_EXPR = 10,
    VALUE_CONSTANT_ARRAY = 11,
    VALUE_CONSTANT_STRUCT = 12,
    VALUE_CONSTANT_VECTOR = 13,
    VALUE_UNDEF = 14,
    VALUE_AGGREGATE_ZERO = 15,
    VALUE_DATA_ARRAY = 16,
    VALUE_DATA_VECTOR = 17,
    VALUE_CONSTANT_INT = 18,
    VALUE_CONSTANT_FP = 19,
    VALUE_POINTER_NULL = 20,
    VALUE_TOKEN_NONE = 21,
    VALUE_METADATA = 22,
    VALUE_INLINE_ASM = 23,
    VALUE_INSTRUCTION = 24,
    VALUE_POISON = 25,
};

/* LLVMTypeKind */
enum {
    TYPE_HALF = 1,
    TYPE_FLOAT = 2,
    TYPE_DOUBLE = 3,
    TYPE_X86_FP80 = 4,
    TYPE_FP128 = 5,
    TYPE_PPC_FP128 = 6,
    TYPE_INTEGER = 8,
    TYPE_FUNCTION = 9,
    TYPE_STRUCT = 10,
    TYPE_ARRAY = 11,
    TYPE_POINTER = 12,
    TYPE_VECTOR = 13,
    TYPE_SCALABLE_VECTOR = 17,
    TYPE_BFLOAT = 18,
    TYPE_TARGET_EXT = 20,
};

#define LLVM_C_FUNCTIONS(X)                                                                        \
    /* contexts, diagnostics, memory */                                                            \
    X(LLVMContextRef, ContextCreate, (void))                                                       \
    X(void, ContextDispose, (LLVMContextRef))                                                      \
    X(void, ContextSetDiscardValueNames, (LLVMContextRef, LLVMBool))                               \
    X(void, ContextSetDiagnosticHandler, (LLVMContextRef, LLVMDiagnosticHandler, void *))          \
    X(char *, GetDiagInfoDescription, (LLVMDiagnosticInfoRef))                                     \
    X(int, GetDiagInfoSeverity, (LLVMDiagnosticInfoRef))                                           \
    X(void, DisposeMessage, (char *))                                                              \
    X(char *, GetErrorMessage, (LLVMErrorRef))                                                     \
    X(void, DisposeErrorMessage, (char *))                                                         \
    X(LLVMMemoryBufferRef, CreateMemoryBufferWithMemoryRangeCopy,                                  \
      (const char *, size_t, const char *))                                                        \
    X(const char *, GetBufferStart, (LLVMMemoryBufferRef))                                         \
    X(size_t, GetBufferSize, (LLVMMemoryBufferRef))                                                \
    X(void, DisposeMemoryBuffer, (LLVMMemoryBufferRef))                                            \
    /* modules */                                                                                  \
    X(LLVMModuleRef, ModuleCreateWithNameInContext, (const char *, LLVMContextRef))                \
    X(void, DisposeModule, (LLVMModuleRef))                                                        \
    X(LLVMModuleRef, CloneModule, (LLVMModuleRef))                                                 \
    X(LLVMBool, ParseIRInContext, (LLVMContextRef, LLVMMemoryBufferRef, LLVMModuleRef *, char **)) \
    X(LLVMBool, ParseBitcodeInContext2, (LLVMContextRef, LLVMMemoryBufferRef, LLVMModuleRef *))    \
    X(LLVMMemoryBufferRef, WriteBitcodeToMemoryBuffer, (LLVMModuleRef))                            \
    X(LLVMBool, VerifyModule, (LLVMModuleRef, int, char **))                                       \
    X(char *, PrintModuleToString, (LLVMModuleRef))                                                \
    X(const char *, GetTarget, (LLVMModuleRef))                                                    \
    X(void, SetModuleIdentifier, (LLVMModuleRef, const char *, size_t))                            \
    X(unsigned, GetMDKindIDInContext, (LLVMContextRef, const char *, unsigned))                    \
    X(void, SetTarget, (LLVMModuleRef, const char *))                                              \
    X(const char *, GetDataLayoutStr, (LLVMModuleRef))                                             \
    X(const char *, GetModuleInlineAsm, (LLVMModuleRef, size_t *))                                 \
    X(LLVMNamedMDNodeRef, GetFirstNamedMetadata, (LLVMModuleRef))                                  \
    X(LLVMNamedMDNodeRef, GetNextNamedMetadata, (LLVMNamedMDNodeRef))                              \
    X(const char *, GetNamedMetadataName, (LLVMNamedMDNodeRef, size_t *))                          \
    X(unsigned, GetNamedMetadataNumOperands, (LLVMModuleRef, const char *))                        \
    X(void, GetNamedMetadataOperands, (LLVMModuleRef, const char *, LLVMValueRef *))               \
    /* passes and code generation */                                                               \
    X(LLVMErrorRef, RunPasses,                                                                     \
      (LLVMModuleRef, const char *, LLVMTargetMachineRef, LLVMPassBuilderOptionsRef))              \
    X(LLVMPassBuilderOptionsRef, CreatePassBuilderOptions, (void))                                 \
    X(void, DisposePassBuilderOptions, (LLVMPassBuilderOptionsRef))                                \
    X(char *, GetDefaultTargetTriple, (void))                                                      \
    X(LLVMBool, GetTargetFromTriple, (const char *, LLVMTargetRef *, char **))                     \
    X(LLVMTargetMachineRef, CreateTargetMachine,                                                   \
      (LLVMTargetRef, const char *, const char *, const char *, int, int, int))                    \
    X(void, DisposeTargetMachine, (LLVMTargetMachineRef))                                          \
    X(LLVMBool, TargetMachineEmitToMemoryBuffer,                                                   \
      (LLVMTargetMachineRef, LLVMModuleRef, int, char **, LLVMMemoryBufferRef *))                  \
    X(LLVMBinaryRef, CreateBinary, (LLVMMemoryBufferRef, LLVMContextRef, char **))                 \
    X(void, DisposeBinary, (LLVMBinaryRef))                                                        \
    X(LLVMSectionIteratorRef, ObjectFileCopySectionIterator, (LLVMBinaryRef))                      \
    X(LLVMBool, ObjectFileIsSectionIteratorAtEnd, (LLVMBinaryRef, LLVMSectionIteratorRef))         \
    X(void, MoveToNextSection, (LLVMSectionIteratorRef))                                           \
    X(void, DisposeSectionIterator, (LLVMSectionIteratorRef))                                      \
    X(const char *, GetSectionName, (LLVMSectionIteratorRef))                                      \
    X(uint64_t, GetSectionSize, (LLVMSectionIteratorRef))                                          \
    /* globals */                                                                                  \
    X(LLVMValueRef, GetFirstFunction, (LLVMModuleRef))                                             \
    X(LLVMValueRef, GetNextFunction, (LLVMValueRef))                                               \
    X(LLVMValueRef, GetFirstGlobal, (LLVMModuleRef))                                               \
    X(LLVMValueRef, GetNextGlobal, (LLVMValueRef))                                                 \
    X(LLVMValueRef, GetFirstGlobalAlias, (LLVMModuleRef))                                          \
    X(LLVMValueRef, GetNextGlobalAlias, (LLVMValueRef))                                            \
    X(LLVMValueRef, AliasGetAliasee, (LLVMValueRef))                                               \
    X(LLVMBool, IsDeclaration, (LLVMValueRef))                                                     \
    X(LLVMTypeRef, GlobalGetValueType, (LLVMValueRef))                                             \
    X(int, GetLinkage, (LLVMValueRef))                                                             \
    X(int, GetVisibility, (LLVMValueRef))                                                          \
    X(int, GetUnnamedAddress, (LLVMValueRef))                                                      \
    X(const char *, GetSection, (LLVMValueRef))                                                    \
    X(unsigned, GetAlignment, (LLVMValueRef))                                                      \
    X(LLVMComdatRef, GetComdat, (LLVMValueRef))                                                    \
    X(int, GetComdatSelectionKind, (LLVMComdatRef))                                                \
    X(LLVMValueMetadataEntry *, GlobalCopyAllMetadata, (LLVMValueRef, size_t *))                   \
    X(LLVMBool, IsGlobalConstant, (LLVMValueRef))                                                  \
    X(LLVMBool, IsExternallyInitialized, (LLVMValueRef))                                           \
    X(int, GetThreadLocalMode, (LLVMValueRef))                                                     \
    X(LLVMValueRef, GetInitializer, (LLVMValueRef))                                                \
    X(unsigned, GetFunctionCallConv, (LLVMValueRef))                                               \
    X(const char *, GetGC, (LLVMValueRef))                                                         \
    X(LLVMBool, HasPersonalityFn, (LLVMValueRef))                                                  \
    X(LLVMValueRef, GetPersonalityFn, (LLVMValueRef))                                              \
    X(LLVMBool, HasPrefixData, (LLVMValueRef))                                                     \
    X(LLVMValueRef, GetPrefixData, (LLVMValueRef))                                                 \
    X(LLVMBool, HasPrologueData, (LLVMValueRef))                                                   \
    X(LLVMValueRef, GetPrologueData, (LLVMValueRef))                                               \
    X(unsigned, CountParams, (LLVMValueRef))                                                       \
    X(LLVMValueRef, GetFirstParam, (LLVMValueRef))                                                 \
    X(LLVMValueRef, GetNextParam, (LLVMValueRef))                                                  \
    X(LLVMValueRef, AddFunction, (LLVMModuleRef, const char *, LLVMTypeRef))                       \
    X(LLVMValueRef, GetNamedFunction, (LLVMModuleRef, const char *))                               \
    X(unsigned, GetIntrinsicID, (LLVMValueRef))                                                    \
    /* attributes */                                                                               \
    X(unsigned, GetAttributeCountAtIndex, (LLVMValueRef, unsigned))                                \
    X(void, GetAttributesAtIndex, (LLVMValueRef, unsigned, LLVMAttributeRef *))                    \
    X(void, AddAttributeAtIndex, (LLVMValueRef, unsigned, LLVMAttributeRef))                       \
    X(void, RemoveEnumAttributeAtIndex, (LLVMValueRef, unsigned, unsigned))                        \
    X(void, RemoveStringAttributeAtIndex, (LLVMValueRef, unsigned, const char *, unsigned))        \
    X(unsigned, GetCallSiteAttributeCount, (LLVMValueRef, unsigned))                               \
    X(void, GetCallSiteAttributes, (LLVMValueRef, unsigned, LLVMAttributeRef *))                   \
    X(LLVMBool, IsEnumAttribute, (LLVMAttributeRef))                                               \
    X(unsigned, GetEnumAttributeKind, (LLVMAttributeRef))                                          \
    X(uint64_t, GetEnumAttributeValue, (LLVMAttributeRef))                                         \
    X(LLVMBool, IsStringAttribute, (LLVMAttributeRef))                                             \
    X(const char *, GetStringAttributeKind, (LLVMAttributeRef, unsigned *))                        \
    X(const char *, GetStringAttributeValue, (LLVMAttributeRef, unsigned *))                       \
    X(LLVMBool, IsTypeAttribute, (LLVMAttributeRef))                                               \
    X(LLVMTypeRef, GetTypeAttributeValue, (LLVMAttributeRef))                                      \
    /* types */                                                                                    \
    X(LLVMTypeRef, TypeOf, (LLVMValueRef))                                                         \
    X(int, GetTypeKind, (LLVMTypeRef))                                                             \
    X(unsigned, GetIntTypeWidth, (LLVMTypeRef))                                                    \
    X(unsigned, GetPointerAddressSpace, (LLVMTypeRef))                                             \
    X(uint64_t, GetArrayLength2, (LLVMTypeRef))                                                    \
    X(unsigned, GetVectorSize, (LLVMTypeRef))                                                      \
    X(LLVMTypeRef, GetElementType, (LLVMTypeRef))                                                  \
    X(LLVMTypeRef, GetReturnType, (LLVMTypeRef))                                                   \
    X(LLVMBool, IsFunctionVarArg, (LLVMTypeRef))                                                   \
    X(unsigned, CountParamTypes, (LLVMTypeRef))                                                    \
    X(void, GetParamTypes, (LLVMTypeRef, LLVMTypeRef *))                                           \
    X(LLVMBool, IsPackedStruct, (LLVMTypeRef))                                                     \
    X(LLVMBool, IsOpaqueStruct, (LLVMTypeRef))                                                     \
    X(const char *, GetStructName, (LLVMTypeRef))                                                  \
    X(unsigned, CountStructElementTypes, (LLVMTypeRef))                                            \
    X(LLVMTypeRef, StructGetTypeAtIndex, (LLVMTypeRef, unsigned))                                  \
    X(char *, PrintTypeToString, (LLVMTypeRef))                                                    \
    X(LLVMTypeRef, VoidTypeInContext, (LLVMContextRef))                                            \
    X(LLVMTypeRef, FunctionType, (LLVMTypeRef, LLVMTypeRef *, unsigned, LLVMBool))                 \
    /* values and constants */                                                                     \
    X(int, GetValueKind, (LLVMValueRef))                                                           \
    X(const char *, GetValueName2, (LLVMValueRef, size_t *))                                       \
    X(char *, PrintValueToString, (LLVMValueRef))                                                  \
    X(LLVMUseRef, GetFirstUse, (LLVMValueRef))                                                     \
    X(LLVMUseRef, GetNextUse, (LLVMUseRef))                                                        \
    X(LLVMValueRef, GetUser, (LLVMUseRef))                                                         \
    X(LLVMBool, IsNull, (LLVMValueRef))                                                            \
    X(int, GetNumOperands, (LLVMValueRef))                                                         \
    X(LLVMValueRef, GetOperand, (LLVMValueRef, unsigned))                                          \
    X(void, SetOperand, (LLVMValueRef, unsigned, LLVMValueRef))                                    \
    X(unsigned long long, ConstIntGetZExtValue, (LLVMValueRef))                                    \
    X(double, ConstRealGetDouble, (LLVMValueRef, LLVMBool *))                                      \
    X(int, GetConstOpcode, (LLVMValueRef))                                                         \
    X(LLVMValueRef, IsAMDString, (LLVMValueRef))                                                   \
    X(LLVMValueRef, IsAMDNode, (LLVMValueRef))                                                     \
    X(const char *, GetMDString, (LLVMValueRef, unsigned *))                                       \
    X(unsigned, GetMDNodeNumOperands, (LLVMValueRef))                                              \
    X(void, GetMDNodeOperands, (LLVMValueRef, LLVMValueRef *))                                     \
    X(LLVMValueRef, MetadataAsValue, (LLVMContextRef, LLVMMetadataRef))                            \
    X(LLVMValueRef, GetBlockAddressFunction, (LLVMValueRef))                                       \
    X(LLVMBasicBlockRef, GetBlockAddressBasicBlock, (LLVMValueRef))                                \
    X(LLVMValueRef, BasicBlockAsValue, (LLVMBasicBlockRef))                                        \
    /* blocks and instructions */                                                                  \
    X(LLVMBasicBlockRef, GetFirstBasicBlock, (LLVMValueRef))                                       \
    X(LLVMBasicBlockRef, GetNextBasicBlock, (LLVMBasicBlockRef))                                   \
    X(LLVMValueRef, GetBasicBlockTerminator, (LLVMBasicBlockRef))                                  \
    X(LLVMValueRef, GetFirstInstruction, (LLVMBasicBlockRef))                                      \
    X(LLVMValueRef, GetNextInstruction, (LLVMValueRef))                                            \
    X(int, GetInstructionOpcode, (LLVMValueRef))                                                   \
    X(unsigned, GetNumSuccessors, (LLVMValueRef))                                                  \
    X(LLVMBasicBlockRef, GetSuccessor, (LLVMValueRef, unsigned))                                   \
    X(int, HasMetadata, (LLVMValueRef))                                                            \
    X(LLVMValueMetadataEntry *, InstructionGetAllMetadataOtherThanDebugLoc,                        \
      (LLVMValueRef, size_t *))                                                                    \
    X(unsigned, ValueMetadataEntriesGetKind, (LLVMValueMetadataEntry *, unsigned))                 \
    X(LLVMMetadataRef, ValueMetadataEntriesGetMetadata, (LLVMValueMetadataEntry *, unsigned))      \
    X(void, DisposeValueMetadataEntries, (LLVMValueMetadataEntry *))                               \
    X(int, GetICmpPredicate, (LLVMValueRef))                                                       \
    X(int, GetFCmpPredicate, (LLVMValueRef))                                                       \
    X(LLVMBool, GetNUW, (LLVMValueRef))                                                            \
    X(LLVMBool, GetNSW, (LLVMValueRef))                                                            \
    X(LLVMBool, GetExact, (LLVMValueRef))                                                          \
    X(LLVMBool, GetNNeg, (LLVMValueRef))                                                           \
    X(LLVMBool, GetIsDisjoint, (LLVMValueRef))                                                     \
    X(LLVMBool, CanValueUseFastMathFlags, (LLVMValueRef))                                          \
    X(unsigned, GetFastMathFlags, (LLVMValueRef))                                                  \
    X(LLVMTypeRef, GetGEPSourceElementType, (LLVMValueRef))                                        \
    X(unsigned, GEPGetNoWrapFlags, (LLVMValueRef))                                                 \
    X(LLVMTypeRef, GetAllocatedType, (LLVMValueRef))                                               \
    X(LLVMBool, GetVolatile, (LLVMValueRef))                                                       \
    X(int, GetOrdering, (LLVMValueRef))                                                            \
    X(LLVMBool, IsAtomicSingleThread, (LLVMValueRef))                                              \
    X(int, GetAtomicRMWBinOp, (LLVMValueRef))                                                      \
    X(LLVMBool, GetWeak, (LLVMValueRef))                                                           \
    X(int, GetCmpXchgSuccessOrdering, (LLVMValueRef))                                              \
    X(int, GetCmpXchgFailureOrdering, (LLVMValueRef))                                              \
    X(unsigned, GetInstructionCallConv, (LLVMValueRef))                                            \
    X(int, GetTailCallKind, (LLVMValueRef))                                                        \
    X(LLVMTypeRef, GetCalledFunctionType, (LLVMValueRef))                                          \
    X(LLVMValueRef, GetCalledValue, (LLVMValueRef))                                                \
    X(unsigned, GetNumArgOperands, (LLVMValueRef))                                                 \
    X(unsigned, GetNumOperandBundleArgs, (LLVMOperandBundleRef))                                   \
    X(unsigned, GetNumOperandBundles, (LLVMValueRef))                                              \
    X(LLVMOperandBundleRef, GetOperandBundleAtIndex, (LLVMValueRef, unsigned))                     \
    X(const char *, GetOperandBundleTag, (LLVMOperandBundleRef, size_t *))                         \
    X(void, DisposeOperandBundle, (LLVMOperandBundleRef))                                          \
    X(LLVMBasicBlockRef, GetIncomingBlock, (LLVMValueRef, unsigned))                               \
    X(unsigned, GetNumIndices, (LLVMValueRef))                                                     \
    X(const unsigned *, GetIndices, (LLVMValueRef))                                                \
    X(unsigned, GetNumMaskElements, (LLVMValueRef))                                                \
    X(int, GetMaskValue, (LLVMValueRef, unsigned))                                                 \
    X(LLVMBool, IsCleanup, (LLVMValueRef))

#define LLVM_C_OPTIONAL(X)                                                                         \
    X(LLVMBool, GetICmpSameSign, (LLVMValueRef))                  /* LLVM 20 */                    \
    X(LLVMValueRef, GetSwitchCaseValue, (LLVMValueRef, unsigned)) /* LLVM 22 */

/* What only the just-in-time compiler uses; ORC's part of the LLVM-C API is called experimental. */
#define LLVM_C_JIT(X)                                                                              \
    X(char *, GetHostCPUName, (void))                                                              \
    X(char *, GetHostCPUFeatures, (void))                                                          \
    X(LLVMTargetDataRef, CreateTargetDataLayout, (LLVMTargetMachineRef))                           \
    X(void, DisposeTargetData, (LLVMTargetDataRef))                                                \
    X(void, SetModuleDataLayout, (LLVMModuleRef, LLVMTargetDataRef))                               \
    X(LLVMOrcLLJITBuilderRef, OrcCreateLLJITBuilder, (void))                                       \
    X(LLVMErrorRef, OrcCreateLLJIT, (LLVMOrcLLJITRef *, LLVMOrcLLJITBuilderRef))                   \
    X(LLVMErrorRef, OrcDisposeLLJIT, (LLVMOrcLLJITRef))                                            \
    X(char, OrcLLJITGetGlobalPrefix, (LLVMOrcLLJITRef))                                            \
    X(LLVMOrcExecutionSessionRef, OrcLLJITGetExecutionSession, (LLVMOrcLLJITRef))                  \
    X(LLVMOrcSymbolStringPoolEntryRef, OrcLLJITMangleAndIntern, (LLVMOrcLLJITRef, const char *))   \
    X(void, OrcReleaseSymbolStringPoolEntry, (LLVMOrcSymbolStringPoolEntryRef))                    \
    X(LLVMErrorRef, OrcLLJITAddObjectFile,                                                         \
      (LLVMOrcLLJITRef, LLVMOrcJITDylibRef, LLVMMemoryBufferRef))                                  \
    X(void, OrcExecutionSessionSetErrorReporter,                                                   \
      (LLVMOrcExecutionSessionRef, LLVMOrcErrorReporterFunction, void *))                          \
    X(LLVMOrcJITDylibRef, OrcExecutionSessionCreateBareJITDylib,                                   \
      (LLVMOrcExecutionSessionRef, const char *))                                                  \
    X(void, OrcExecutionSessionLookup,                                                             \
      (LLVMOrcExecutionSessionRef, int, LLVMOrcCJITDylibSearchOrderElement *, size_t,              \
       LLVMOrcCLookupSetElement *, size_t, LLVMOrcExecutionSessionLookupHandleResultFunction,      \
       void *))                                                                                    \
    X(LLVMErrorRef, OrcJITDylibClear, (LLVMOrcJITDylibRef))                                        \
    X(void, OrcJITDylibAddGenerator, (LLVMOrcJITDylibRef, LLVMOrcDefinitionGeneratorRef))          \
    X(LLVMErrorRef, OrcCreateDynamicLibrarySearchGeneratorForProcess,                              \
      (LLVMOrcDefinitionGeneratorRef *, char, void *, void *))

typedef struct llvm_c_jit {
#define X(result, name, parameters) result(*name) parameters;
    LLVM_C_JIT(X)
#undef X
} llvm_c_jit;

typedef struct llvm_c {
#define X(result, name, parameters) result(*name) parameters;
    LLVM_C_FUNCTIONS(X)
    LLVM_C_OPTIONAL(X)
#undef X
} llvm_c;

#endif
