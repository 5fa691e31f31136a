/* kiln.h - all of Kiln. The order below is the order to read in. */
#ifndef KILN_KILN_H
#define KILN_KILN_H

#include <kiln/base.h>
#include <kiln/random.h>
#include <kiln/tensor.h>
#include <kiln/ops.h>
#include <kiln/module.h>
#include <kiln/layers.h>
#include <kiln/image.h>
#include <kiln/augment.h>
#include <kiln/data.h>
#include <kiln/optim.h>
#include <kiln/learner.h>
#include <kiln/callbacks.h>
#include <kiln/lr_find.h>
#include <kiln/activations.h>
#include <kiln/metrics.h>
#include <kiln/predict.h>
#include <kiln/grad_cam.h>
#include <kiln/safetensors.h>
#include <kiln/chart.h>
#include <kiln/sheet.h>
#include <kiln/model_file.h>
#include <kiln/checkpoint.h>

#endif
