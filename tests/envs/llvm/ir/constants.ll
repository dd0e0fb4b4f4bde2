; Constant operands. Columns: operands that are i32, that are i64, that are 0, that are 1 (of any width); binary
; operators with a constant operand of any kind.

@g = global i32 0                                 ; initialisers are not operands of instructions

declare void @take(i32, i64, i1, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

;                                                                           i32 i64 zero one binary
define i32 @constants(i8 %b, i32 %x, i64 %y, float %f, ptr %p) {
entry:
  %one = alloca i64                                                       ; 1   .   .    1   .   the count, i32 1
  %five = alloca i8, i32 5                                                ; 1   .   .    .   .
  %element = getelementptr inbounds [8 x i32], ptr %p, i64 0, i64 1       ; .   2   1    1   .
  %field = getelementptr { i32, i32 }, ptr %p, i32 0, i32 1               ; 2   .   1    1   .
  call void @take(i32 7, i64 0, i1 true, ptr null)                        ; 1   1   1    1   .   null is no integer
  call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 16, i1 false)           ; .   1   2    .   .   i8 0 and i1 false
  store i32 0, ptr %p                                                     ; 1   .   1    .   .
  store i8 1, ptr %p                                                      ; .   .   .    1   .
  store i64 6, ptr %p                                                     ; .   1   .    .   .
  %right = add i32 %x, 1                                                  ; 1   .   .    1   1
  %left = sub i32 0, %x                                                   ; 1   .   1    .   1
  %both = mul i64 3, 5                                                    ; .   2   .    .   1   one operator
  %narrow = shl i8 %b, 2                                                  ; .   .   .    .   1
  %real = fadd float %f, 1.0                                              ; .   .   .    .   1   no integer
  %undefined = and i32 %x, undef                                          ; .   .   .    .   1   no integer
  %address = xor i64 %y, ptrtoint (ptr @g to i64)                         ; .   .   .    .   1   no integer
  %vector = add <2 x i32> <i32 1, i32 0>, zeroinitializer                 ; .   .   .    .   1   no integers
  %none = or i32 %x, %x                                                   ; .   .   .    .   .
  %compare = icmp eq i32 %x, 0                                            ; 1   .   1    .   .   not binary
  %choose = select i1 true, i32 %x, i32 9                                 ; 1   .   .    1   .   not binary
  %again = select i1 true, ptr %p, ptr null                               ; .   .   .    1   .
  %third = select i1 true, i8 %b, i8 3                                    ; .   .   .    1   .
  %wider = zext i32 4 to i64                                              ; 1   .   .    .   .
  %minus = fneg float 0.0                                                 ; .   .   .    .   .
  br i1 true, label %next, label %other                                   ; .   .   .    1   .
other:
  switch i64 %y, label %next [                                            ; .   3   1    1   .   the three cases
    i64 0, label %last
    i64 1, label %last
    i64 5, label %last
  ]
next:
  %small = phi i32 [ 1, %entry ], [ 0, %other ]                           ; 2   .   1    1   .
  %large = phi i64 [ -1, %entry ], [ 1, %other ]                          ; .   2   .    1   .
  br label %last
last:
  ret i32 0                                                               ; 1   .   1    .   .
}
;                                                                           14  12  11   13  8
