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

} // namespace odl
