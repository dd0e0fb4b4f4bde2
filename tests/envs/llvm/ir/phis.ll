; Phis. Each block with phis is followed by how many it has and how many incoming values they have together.

define void @phis(i1 %c, i32 %x, i32 %y) {
entry:                                            ; no phi (1)
  br i1 %c, label %l1, label %a1
l1:                                               ; no phi (2)
  br label %a1
a1:                                               ; 1 phi, 2 values
  %a1p = phi i32 [ %x, %entry ], [ %y, %l1 ]
  br i1 %c, label %l2, label %a2
l2:                                               ; no phi (3)
  br label %a2
a2:                                               ; 1 phi, 2 values
  %a2p = phi i32 [ %x, %a1 ], [ %y, %l2 ]
  br i1 %c, label %l3, label %b
l3:                                               ; no phi (4)
  br label %b
b:                                                ; 3 phis, 6 values: the most phis of the lower class
  %b1 = phi i32 [ %x, %a2 ], [ %y, %l3 ]
  %b2 = phi i32 [ %x, %a2 ], [ %y, %l3 ]
  %b3 = phi i32 [ %x, %a2 ], [ %y, %l3 ]
  br i1 %c, label %l4, label %d
l4:                                               ; no phi (5)
  br label %d
d:                                                ; 4 phis, 8 values
  %d1 = phi i32 [ %x, %b ], [ %y, %l4 ]
  %d2 = phi i32 [ %x, %b ], [ %y, %l4 ]
  %d3 = phi i32 [ %x, %b ], [ %y, %l4 ]
  %d4 = phi i32 [ %x, %b ], [ %y, %l4 ]
  switch i32 %x, label %e0 [
    i32 1, label %e1
    i32 2, label %e2
    i32 3, label %e3
    i32 4, label %e4
  ]
e0:                                               ; no phi (6)
  br label %e
e1:                                               ; no phi (7)
  br label %e
e2:                                               ; no phi (8)
  br label %e
e3:                                               ; no phi (9)
  br label %e
e4:                                               ; no phi (10)
  br label %e
e:                                                ; 1 phi, 5 values: the most values of the lower class
  %ep = phi i32 [ %x, %e0 ], [ %x, %e1 ], [ %x, %e2 ], [ %x, %e3 ], [ %y, %e4 ]
  switch i32 %x, label %f0 [
    i32 1, label %f1
    i32 2, label %f2
    i32 3, label %f3
    i32 4, label %f4
    i32 5, label %f5
  ]
f0:                                               ; no phi (11)
  br label %f
f1:                                               ; no phi (12)
  br label %f
f2:                                               ; no phi (13)
  br label %f
f3:                                               ; no phi (14)
  br label %f
f4:                                               ; no phi (15)
  br label %f
f5:                                               ; no phi (16)
  br label %f
f:                                                ; 1 phi, 6 values: the fewest values of the upper class
  %fp = phi i32 [ %x, %f0 ], [ %x, %f1 ], [ %x, %f2 ], [ %x, %f3 ], [ %x, %f4 ], [ %y, %f5 ]
  br label %g
g:                                                ; 4 phis, 4 values
  %g1 = phi i32 [ %x, %f ]
  %g2 = phi i32 [ %x, %f ]
  %g3 = phi i32 [ %x, %f ]
  %g4 = phi i32 [ %x, %f ]
  br label %h
h:                                                ; 1 phi, 1 value: the fewest values of the lower class
  %hp = phi i32 [ %x, %g ]
  br label %end
end:                                              ; no phi (17)
  ret void
}

; over 5 values: b, d, f = 3             1 to 5 values: a1, a2, e, g, h = 5
; 1 to 3 phis: a1, a2, b, e, f, h = 6    over 3 phis: d, g = 2
; begin with a phi: 8                    no phi: 17
; phis: 1+1+3+4+1+1+4+1 = 16             values: 2+2+6+8+5+6+4+1 = 34
