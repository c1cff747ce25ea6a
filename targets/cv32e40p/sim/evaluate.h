// One evaluation of a verilated model without the bookkeeping of its eval(): messages and deleted objects,
// which these models do not have, and for which eval() takes two locks. A model's first evaluations must be
// by eval().
#pragma once

#include "Vodl_core.h"
#include "Vodl_fp_divider.h"
#include "Vodl_fpu_addmul.h"
#include "Vodl_fpu_other.h"

void Vodl_core___024root___eval(Vodl_core___024root *);
void Vodl_fp_divider___024root___eval(Vodl_fp_divider___024root *);
void Vodl_fpu_addmul___024root___eval(Vodl_fpu_addmul___024root *);
void Vodl_fpu_other___024root___eval(Vodl_fpu_other___024root *);

namespace odl {

inline void evaluate(Vodl_core &model) { Vodl_core___024root___eval(model.rootp); }
inline void evaluate(Vodl_fp_divider &model) { Vodl_fp_divider___024root___eval(model.rootp); }
inline void evaluate(Vodl_fpu_addmul &model) { Vodl_fpu_addmul___024root___eval(model.rootp); }
inline void evaluate(Vodl_fpu_other &model) { Vodl_fpu_other___024root___eval(model.rootp); }

// Resets a new model, whose other inputs are set.
template <class Model> void reset(Model &model) {
    model.clk_i = 0;
    model.rst_ni = 1;
    model.eval();
    model.rst_ni = 0; // an edge of its own, which the asynchronous resets wait for
    for (int i = 0; i < 4; i++) {
        model.eval();
        model.clk_i = !model.clk_i;
    }
    model.rst_ni = 1;
    model.eval();
}

} // namespace odl
