; Memory instructions, calls and functions.

@alias = alias i32 (), ptr @defined

declare i32 @int32()                              ; function 1
declare i1 @int1()                                ; 2
declare i64 @int64(...)                           ; 3
declare void @nothing()                           ; 4
declare float @real()                             ; 5
declare ptr @address()                            ; 6
declare <2 x i32> @vector()                       ; 7
declare i32 @llvm.umax.i32(i32, i32)              ; 8
declare void @llvm.donothing()                    ; 9
declare i32 @personality(...)                     ; 10

define i32 @defined() {                           ; 11
  ret i32 3                                       ; other instruction 1
}

define void @calls(ptr %f, ptr %p) personality ptr @personality { ; 12
entry:
  %slot = alloca i32                              ; alloca 1
  %other = alloca i64                             ; alloca 2
  %a = call i32 @int32()                          ; call 1, of a function that returns an integer: 1
  %b = tail call i1 @int1()                       ; call 2, integer: 2
  %c = call i64 (...) @int64(i32 8)               ; call 3, integer: 3
  %d = call i32 @defined()                        ; call 4, integer: 4
  %e = call i32 @llvm.umax.i32(i32 %a, i32 %d)    ; call 5, integer: 5 (an intrinsic is a function too)
  call void @nothing()                            ; call 6
  %g = call float @real()                         ; call 7
  %h = call ptr @address()                        ; call 8
  %i = call <2 x i32> @vector()                   ; call 9: a vector is no integer
  call void @llvm.donothing()                     ; call 10
  %j = call i32 %f()                              ; call 11: through a pointer
  %k = call i64 %f(i32 %a)                        ; call 12: through a pointer
  %l = call i32 asm "nop", "=r"()                 ; call 13: no function
  %m = call i32 @alias()                          ; call 14: through an alias
  %n = call i32 @int1()                           ; call 15: of another type than the function's own
  %o = invoke i32 @int32()                        ; invoke 1: no call instruction
          to label %next unwind label %pad
next:
  %p1 = getelementptr i32, ptr %p, i64 1          ; getelementptr 1
  %p2 = getelementptr i32, ptr %p, i64 2          ; getelementptr 2
  %p3 = getelementptr i32, ptr %p, i64 3          ; getelementptr 3
  %p4 = getelementptr i32, ptr %p, i64 4          ; getelementptr 4
  %l1 = load i32, ptr %p1                         ; load 1
  %l2 = load i64, ptr %p2                         ; load 2
  %l3 = load volatile i8, ptr %p3                 ; load 3
  %l4 = load float, ptr %p4                       ; load 4
  %l5 = load atomic i32, ptr %p acquire, align 4  ; load 5
  %l6 = load ptr, ptr %p                          ; load 6
  %l7 = load i1, ptr %p                           ; load 7
  store i32 %l1, ptr %slot                        ; store 1
  store i64 %l2, ptr %other                       ; store 2
  store ptr %l6, ptr %p                           ; store 3
  %q = atomicrmw add ptr %p, i32 %l1 seq_cst      ; other 2: no memory instruction in this count
  %r = cmpxchg ptr %p, i32 %l1, i32 %l5 seq_cst seq_cst ; other 3
  fence seq_cst                                   ; other 4
  ret void                                        ; other 5
pad:
  %s = landingpad { ptr, i32 }                    ; other 6
          cleanup
  resume { ptr, i32 } %s                          ; other 7
}

; memory instructions: 4 getelementptr + 7 load + 3 store + 15 call + 1 invoke + 2 alloca = 32
; instructions: 32 + 7 = 39
