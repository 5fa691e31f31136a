# count.awk - adds up ctest logs (LastTest.log): "PASSED FAILED SKIPPED". A cmocka program counts its
# cases, any other test counts as one; a program that broke off counts as a failure in addition to
# what it said.
function finish(outcome) {
    if (cases) {
        passed += p; failed += f; skipped += s
        if (outcome != "passed" && f == 0) failed++
    } else if (outcome == "passed") passed++
    else if (outcome == "skipped") skipped++
    else failed++
    open = 0
}
/^[0-9]+\/[0-9]+ Testing: / {
    if (open) finish("failed")
    open = 1; cases = p = f = s = 0
}
/^\[  PASSED  \] [0-9]+ test\(s\)/ { cases = 1; p += $4 }
/^\[  FAILED  \] [0-9]+ test\(s\)/ { cases = 1; f += $4 }
/^\[  SKIPPED \] [0-9]+ test\(s\)/ { cases = 1; s += $4 }
open && /^Test Passed\.$/ { finish("passed") }
open && /^Test Skipped\.$/ { finish("skipped") }
open && /^Skip regular expression found in output/ { finish("skipped") } # how ctest says it of an output
open && /^Test Failed\.$/ { finish("failed") }
END {
    if (open) finish("failed")
    print passed + 0, failed + 0, skipped + 0
}
