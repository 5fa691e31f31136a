/* kernels.cuh - every kernel of the tables, declared with the type that the table gives it. Read in
 * by cuda.cuh, several times by table.cu. */

/* memory.cu */
KN_CUDA_KERNEL(copy_in);
KN_CUDA_KERNEL(copy_out);
KN_CUDA_KERNEL(copy);
KN_CUDA_KERNEL(zero);
/* move_rows.cu */
KN_CUDA_KERNEL(put_rows);
KN_CUDA_KERNEL(take_rows);
/* elementwise.cu */
KN_CUDA_KERNEL(fill);
KN_CUDA_KERNEL(unary);
KN_CUDA_KERNEL(unary_grad);
KN_CUDA_KERNEL(axpy);
KN_CUDA_KERNEL(cast);
KN_CUDA_KERNEL(dropout);
KN_CUDA_BF16(unary);
KN_CUDA_BF16(unary_grad);
KN_CUDA_BF16(add);
KN_CUDA_BF16(dropout);
/* broadcast.cu */
KN_CUDA_KERNEL(binary);
KN_CUDA_KERNEL(expand);
KN_CUDA_KERNEL(permute);
/* reduce.cu, gather.cu */
KN_CUDA_KERNEL(reduce);
KN_CUDA_KERNEL(max_grad);
KN_CUDA_KERNEL(argmax);
KN_CUDA_KERNEL(gather);
KN_CUDA_KERNEL(gather_grad);
KN_CUDA_KERNEL(stats);
KN_CUDA_KERNEL(square_sum);
/* matmul.cu */
KN_CUDA_KERNEL(matmul);
/* conv.cu */
KN_CUDA_KERNEL(forget);
KN_CUDA_KERNEL(conv);
KN_CUDA_KERNEL(conv_grad_data);
KN_CUDA_KERNEL(conv_grad_weights);
KN_CUDA_BF16(conv);
KN_CUDA_BF16(conv_grad_data);
KN_CUDA_BF16(conv_grad_weights);
/* norm.cu, norm_grad.cu */
KN_CUDA_KERNEL(batch_norm);
KN_CUDA_KERNEL(batch_norm_grad);
KN_CUDA_BF16(batch_norm);
KN_CUDA_BF16(batch_norm_grad);
/* pool.cu, mean_hw.cu */
KN_CUDA_KERNEL(mean_hw);
KN_CUDA_KERNEL(mean_hw_grad);
KN_CUDA_KERNEL(max_pool);
KN_CUDA_KERNEL(max_pool_grad);
KN_CUDA_KERNEL(avg_pool);
KN_CUDA_KERNEL(avg_pool_grad);
KN_CUDA_BF16(mean_hw);
KN_CUDA_BF16(mean_hw_grad);
KN_CUDA_BF16(max_pool);
KN_CUDA_BF16(max_pool_grad);
KN_CUDA_BF16(avg_pool);
KN_CUDA_BF16(avg_pool_grad);
/* softmax.cu */
KN_CUDA_KERNEL(softmax);
KN_CUDA_KERNEL(softmax_grad);
KN_CUDA_KERNEL(logsumexp);
KN_CUDA_KERNEL(logsumexp_grad);
/* loss.cu */
KN_CUDA_KERNEL(nll);
KN_CUDA_KERNEL(nll_grad);
KN_CUDA_KERNEL(cross_entropy);
KN_CUDA_KERNEL(cross_entropy_grad);
KN_CUDA_KERNEL(track);
/* mix.cu */
KN_CUDA_KERNEL(normalize);
KN_CUDA_KERNEL(mix_rows);
KN_CUDA_KERNEL(mix_box);
/* optim.cu */
KN_CUDA_KERNEL(sgd);
KN_CUDA_KERNEL(adam);
KN_CUDA_KERNEL(muon_momentum);
KN_CUDA_KERNEL(muon_normalize);
KN_CUDA_KERNEL(muon_poly);
KN_CUDA_KERNEL(muon_step);
KN_CUDA_KERNEL(lerp);
KN_CUDA_KERNEL(clip);
