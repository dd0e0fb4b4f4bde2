; Control flow. Every block is followed by its predecessors and successors, an edge counted as often as it exists.
; A critical edge leaves a block with several successors and enters one with several predecessors.

define void @everything(i1 %c, i32 %x) {
entry:                                            ; 0 predecessors, 2 successors
  br i1 %c, label %one, label %two
one:                                              ; 1, 1
  br label %join
two:                                              ; 1, 2; two -> join is critical
  br i1 %c, label %join, label %three
three:                                            ; 1, 1
  br label %join
join:                                             ; 3, 2; both edges are critical
  br i1 %c, label %loop, label %choose
loop:                                             ; 2, 2; both edges are critical
  br i1 %c, label %loop, label %choose
choose:                                           ; 2, 4; the edges to left (twice) and to out are critical
  switch i32 %x, label %out [
    i32 0, label %left
    i32 1, label %left
    i32 2, label %right
  ]
left:                                             ; 2 (the same block twice), 1
  br label %out
right:                                            ; 1, 1
  br label %out
out:                                              ; 3, 0
  ret void
}

define void @chain() {
entry:                                            ; 0, 1
  br label %a
a:                                                ; 1, 1
  br label %b
b:                                                ; 1, 1
  br label %end
end:                                              ; 1, 0
  ret void
}

define void @first_loop(i1 %c) {
entry:                                            ; 0, 1
  br label %loop
loop:                                             ; 2, 2; loop -> loop is critical, loop -> end is not
  br i1 %c, label %loop, label %end
end:                                              ; 1, 0
  ret void
}

define void @second_loop(i1 %c) {
entry:                                            ; 0, 1
  br label %loop
loop:                                             ; 2, 2; loop -> loop is critical
  br i1 %c, label %end, label %loop
end:                                              ; 1, 0
  ret void
}

define void @first_tree(i1 %c) {
entry:                                            ; 0, 2
  br i1 %c, label %a, label %b
a:                                                ; 1, 2
  br i1 %c, label %aa, label %ab
b:                                                ; 1, 2
  br i1 %c, label %ba, label %bb
aa:                                               ; 1, 0
  ret void
ab:                                               ; 1, 0
  ret void
ba:                                               ; 1, 0
  ret void
bb:                                               ; 1, 0
  ret void
}

define void @second_tree(i1 %c) {
entry:                                            ; 0, 2
  br i1 %c, label %a, label %b
a:                                                ; 1, 2
  br i1 %c, label %aa, label %ab
b:                                                ; 1, 2
  br i1 %c, label %ba, label %bb
aa:                                               ; 1, 0
  ret void
ab:                                               ; 1, 0
  ret void
ba:                                               ; 1, 0
  ret void
bb:                                               ; 1, 0
  ret void
}

define void @diamond(i1 %c, i32 %x) {
entry:                                            ; 0, 2
  br i1 %c, label %a, label %b
a:                                                ; 1, 1
  br label %join
b:                                                ; 1, 1
  br label %join
join:                                             ; 2, 1: one successor, but no branch
  switch i32 %x, label %end [
  ]
end:                                              ; 1, 0
  ret void
}

define void @first_switch_to_one_block(i32 %x) {
entry:                                            ; 0, 4; all four edges are critical
  switch i32 %x, label %end [
    i32 0, label %end
    i32 1, label %end
    i32 2, label %end
  ]
end:                                              ; 4, 0
  ret void
}

define void @second_switch_to_one_block(i32 %x) {
entry:                                            ; 0, 4; all four edges are critical
  switch i32 %x, label %end [
    i32 3, label %end
    i32 4, label %end
    i32 5, label %end
  ]
end:                                              ; 4, 0
  ret void
}

define void @switch_to_three_blocks(i32 %x) {
entry:                                            ; 0, 3
  switch i32 %x, label %a [
    i32 0, label %b
    i32 1, label %c
  ]
a:                                                ; 1, 0
  ret void
b:                                                ; 1, 0
  ret void
c:                                                ; 1, 0
  ret void
}

;                     everything chain loops trees diamond switches(2) switch   sum
; 1 predecessor             4      3   1+1   6+6     3         0+0       3       27
;   and 1 successor         3      2   0+0   0+0     2         0+0       0        7
;   and 2 successors        1      0   0+0   2+2     0         0+0       0        5
; 1 successor               4      3   1+1   0+0     3         0+0       0       12
; 2 predecessors            3      0   1+1   0+0     1         0+0       0        6
;   and 1 successor         1      0   0+0   0+0     1         0+0       0        2
;   and 2 successors        1      0   1+1   0+0     0         0+0       0        3
; 2 successors              4      0   1+1   3+3     1         0+0       0       13
; over 2 predecessors       2      0   0+0   0+0     0         1+1       0        4
; branches                  8      3   2+2   3+3     3         0+0       0       24
;   unconditional           4      3   1+1   0+0     2         0+0       0       11
; edges                    16      3   3+3   6+6     5         4+4       3       53
; critical edges            8      0   1+1   0+0     0         4+4       0       18
; blocks                   10      4   3+3   7+7     5         2+2       4       47
