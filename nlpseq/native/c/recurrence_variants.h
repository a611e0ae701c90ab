/* A layer over time in both types, for one kind of processor. */

#define VARIANT EXPAND(float, KIND)
#define DOUBLES 0
#include "type.h"
#include "vectors.h"
#include "multiply.h"
#include "pairs.h"
#include "cells.h"
#include "loop.h"
#undef VARIANT
#undef DOUBLES

#define VARIANT EXPAND(double, KIND)
#define DOUBLES 1
#include "type.h"
#include "vectors.h"
#include "multiply.h"
#include "cells.h"
#include "loop.h"
#undef VARIANT
#undef DOUBLES
