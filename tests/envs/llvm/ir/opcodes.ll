; One function for every opcode that IR can express, named as InstCount names the opcode. A test reads the lines
; outside of functions together with one function, so that each opcode is seen among few others.

target triple = "x86_64-pc-linux-gnu"

declare i32 @personality(...)
declare i32 @__CxxFrameHandler3(...)
declare void @callee()

define void @ret() {
  ret void
}

define void @br(i1 %c) {
  br i1 %c, label %a, label %b
a:
  br label %b
b:
  ret void
}

define void @switch(i32 %x) {
  switch i32 %x, label %a [
    i32 1, label %a
    i32 2, label %b
  ]
a:
  ret void
b:
  ret void
}

define void @indirectbr(ptr %p) {
  indirectbr ptr %p, [label %a, label %b]
a:
  ret void
b:
  ret void
}

define void @invoke() personality ptr @personality {
  invoke void @callee()
          to label %a unwind label %b
a:
  ret void
b:
  %pad = landingpad { ptr, i32 }
          catch ptr null
  ret void
}

define void @resume({ ptr, i32 } %x) personality ptr @personality {
  resume { ptr, i32 } %x
}

define void @unreachable() {
  unreachable
}

define void @cleanupret() personality ptr @__CxxFrameHandler3 {
  invoke void @callee()
          to label %a unwind label %b
a:
  ret void
b:
  %pad = cleanuppad within none []
  cleanupret from %pad unwind to caller
}

define void @catchret() personality ptr @__CxxFrameHandler3 {
  invoke void @callee()
          to label %a unwind label %b
a:
  ret void
b:
  %switch = catchswitch within none [label %c] unwind to caller
c:
  %pad = catchpad within %switch [ptr null, i32 64, ptr null]
  catchret from %pad to label %a
}

define void @catchswitch() personality ptr @__CxxFrameHandler3 {
  invoke void @callee()
          to label %a unwind label %b
a:
  ret void
b:
  %switch = catchswitch within none [label %c, label %d] unwind to caller
c:
  %first = catchpad within %switch [ptr null, i32 0, ptr null]
  unreachable
d:
  %second = catchpad within %switch [ptr null, i32 64, ptr null]
  unreachable
}

define void @callbr() {
  callbr void asm "", "!i"()
          to label %a [label %b]
a:
  ret void
b:
  ret void
}

define float @fneg(float %x) {
  %y = fneg nnan float %x
  ret float %y
}

define i32 @add(i32 %x) {
  %y = add nuw nsw i32 %x, %x
  ret i32 %y
}

define float @fadd(float %x) {
  %y = fadd fast float %x, %x
  ret float %y
}

define i32 @sub(i32 %x) {
  %y = sub i32 %x, %x
  ret i32 %y
}

define float @fsub(float %x) {
  %y = fsub float %x, %x
  ret float %y
}

define i32 @mul(i32 %x) {
  %y = mul i32 %x, %x
  ret i32 %y
}

define float @fmul(float %x) {
  %y = fmul float %x, %x
  ret float %y
}

define i32 @udiv(i32 %x) {
  %y = udiv i32 %x, %x
  ret i32 %y
}

define i32 @sdiv(i32 %x) {
  %y = sdiv i32 %x, %x
  ret i32 %y
}

define float @fdiv(float %x) {
  %y = fdiv float %x, %x
  ret float %y
}

define i32 @urem(i32 %x) {
  %y = urem i32 %x, %x
  ret i32 %y
}

define i32 @srem(i32 %x) {
  %y = srem i32 %x, %x
  ret i32 %y
}

define float @frem(float %x) {
  %y = frem float %x, %x
  ret float %y
}

define i32 @shl(i32 %x) {
  %y = shl i32 %x, %x
  ret i32 %y
}

define i32 @lshr(i32 %x) {
  %y = lshr i32 %x, %x
  ret i32 %y
}

define i32 @ashr(i32 %x) {
  %y = ashr i32 %x, %x
  ret i32 %y
}

define i32 @and(i32 %x) {
  %y = and i32 %x, %x
  ret i32 %y
}

define i32 @or(i32 %x) {
  %y = or i32 %x, %x
  ret i32 %y
}

define i32 @xor(i32 %x) {
  %y = xor i32 %x, %x
  ret i32 %y
}

define void @alloca() {
  %y = alloca i32
  ret void
}

define i32 @load(ptr %p) {
  %y = load i32, ptr %p
  ret i32 %y
}

define void @store(ptr %p) {
  store i32 1, ptr %p
  ret void
}

define ptr @getelementptr(ptr %p) {
  %y = getelementptr inbounds i32, ptr %p, i64 1
  ret ptr %y
}

define void @fence() {
  fence seq_cst
  ret void
}

define void @cmpxchg(ptr %p) {
  %y = cmpxchg weak ptr %p, i32 1, i32 2 seq_cst monotonic
  ret void
}

define void @atomicrmw(ptr %p) {
  %y = atomicrmw xchg ptr %p, i32 1 seq_cst
  ret void
}

define i8 @trunc(i32 %x) {
  %y = trunc i32 %x to i8
  ret i8 %y
}

define i64 @zext(i32 %x) {
  %y = zext nneg i32 %x to i64
  ret i64 %y
}

define i64 @sext(i32 %x) {
  %y = sext i32 %x to i64
  ret i64 %y
}

define i32 @fptoui(float %x) {
  %y = fptoui float %x to i32
  ret i32 %y
}

define i32 @fptosi(float %x) {
  %y = fptosi float %x to i32
  ret i32 %y
}

define float @uitofp(i32 %x) {
  %y = uitofp i32 %x to float
  ret float %y
}

define float @sitofp(i32 %x) {
  %y = sitofp i32 %x to float
  ret float %y
}

define float @fptrunc(double %x) {
  %y = fptrunc double %x to float
  ret float %y
}

define double @fpext(float %x) {
  %y = fpext float %x to double
  ret double %y
}

define i64 @ptrtoint(ptr %p) {
  %y = ptrtoint ptr %p to i64
  ret i64 %y
}

define ptr @inttoptr(i64 %x) {
  %y = inttoptr i64 %x to ptr
  ret ptr %y
}

define float @bitcast(i32 %x) {
  %y = bitcast i32 %x to float
  ret float %y
}

define ptr addrspace(1) @addrspacecast(ptr %p) {
  %y = addrspacecast ptr %p to ptr addrspace(1)
  ret ptr addrspace(1) %y
}

define void @cleanuppad() personality ptr @__CxxFrameHandler3 {
  invoke void @callee()
          to label %a unwind label %b
a:
  ret void
b:
  %pad = cleanuppad within none []
  unreachable
}

define void @catchpad() personality ptr @__CxxFrameHandler3 {
  invoke void @callee()
          to label %a unwind label %b
a:
  ret void
b:
  %switch = catchswitch within none [label %c] unwind to caller
c:
  %pad = catchpad within %switch [ptr null, i32 64, ptr null]
  unreachable
}

define i1 @icmp(i32 %x) {
  %y = icmp slt i32 %x, 1
  ret i1 %y
}

define i1 @fcmp(float %x) {
  %y = fcmp nnan olt float %x, 1.0
  ret i1 %y
}

define i32 @phi(i1 %c) {
entry:
  br i1 %c, label %a, label %b
a:
  br label %b
b:
  %y = phi i32 [ 1, %entry ], [ 2, %a ]
  ret i32 %y
}

define void @call() {
  call void @callee()
  tail call void @callee()
  notail call void @callee()
  musttail call void @callee()
  ret void
}

define i32 @select(i1 %c) {
  %y = select i1 %c, i32 1, i32 2
  ret i32 %y
}

define i32 @va_arg(ptr %p) {
  %y = va_arg ptr %p, i32
  ret i32 %y
}

define i32 @extractelement(<2 x i32> %x) {
  %y = extractelement <2 x i32> %x, i32 0
  ret i32 %y
}

define <2 x i32> @insertelement(<2 x i32> %x) {
  %y = insertelement <2 x i32> %x, i32 1, i32 0
  ret <2 x i32> %y
}

define <2 x i32> @shufflevector(<2 x i32> %x) {
  %y = shufflevector <2 x i32> %x, <2 x i32> %x, <2 x i32> <i32 1, i32 0>
  ret <2 x i32> %y
}

define i32 @extractvalue({ i32, i32 } %x) {
  %y = extractvalue { i32, i32 } %x, 0
  ret i32 %y
}

define { i32, i32 } @insertvalue({ i32, i32 } %x) {
  %y = insertvalue { i32, i32 } %x, i32 1, 0
  ret { i32, i32 } %y
}

define void @landingpad() personality ptr @personality {
  invoke void @callee()
          to label %a unwind label %b
a:
  invoke void @callee()
          to label %c unwind label %b
c:
  ret void
b:
  %pad = landingpad { ptr, i32 }
          cleanup
          catch ptr null
  ret void
}

define i32 @freeze(i32 %x) {
  %y = freeze i32 %x
  ret i32 %y
}
