; Unary instructions: casts, load, alloca, extractvalue, va_arg, fneg and freeze.

define i32 @unary(i32 %x, i64 %y, float %f, double %d, ptr %p, { i32, i32 } %s, ...) {
  %1 = trunc i64 %y to i32                        ; 1
  %2 = zext i32 %x to i64                         ; 2
  %3 = sext i32 %x to i64                         ; 3
  %4 = fptoui float %f to i32                     ; 4
  %5 = fptosi float %f to i32                     ; 5
  %6 = uitofp i32 %x to float                     ; 6
  %7 = sitofp i32 %x to float                     ; 7
  %8 = fptrunc double %d to float                 ; 8
  %9 = fpext float %f to double                   ; 9
  %10 = ptrtoint ptr %p to i64                    ; 10
  %11 = inttoptr i64 %y to ptr                    ; 11
  %12 = bitcast i32 %x to float                   ; 12
  %13 = addrspacecast ptr %p to ptr addrspace(1)  ; 13
  %14 = load i32, ptr %p                          ; 14
  %15 = alloca i32                                ; 15
  %16 = extractvalue { i32, i32 } %s, 0           ; 16
  %17 = va_arg ptr %p, i32                        ; 17
  %18 = fneg float %f                             ; 18
  %19 = freeze i32 %x                             ; 19
  %20 = insertvalue { i32, i32 } %s, i32 %x, 1    ; not unary, as all that follow
  %21 = select i1 true, i32 %x, i32 %14
  %22 = add i32 %x, %16
  %23 = icmp eq i32 %x, %17
  %24 = getelementptr i8, ptr %p, i64 %y
  store i32 %x, ptr %15
  ret i32 %22
}
