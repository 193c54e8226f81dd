//! `worker_cpu_affinity`: which processors a worker may use.

use daemun_core::settings::CpuAffinity;

/// The processors for the worker of that index, among `processors`; `None` leaves the choice to the
/// kernel.
pub fn for_worker(affinity: &CpuAffinity, index: usize, processors: usize) -> Option<Vec<usize>> {
    match affinity {
        CpuAffinity::Unset => None,
        CpuAffinity::Auto(cpus) if cpus.is_empty() => Some(vec![index % processors.max(1)]),
        CpuAffinity::Auto(cpus) => Some(vec![cpus[index % cpus.len()]]),
        CpuAffinity::Masks(masks) => masks.get(index).or(masks.last()).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_turns_and_masks_repeat_the_last() {
        let auto = CpuAffinity::Auto(Vec::new());
        assert_eq!(for_worker(&auto, 5, 4), Some(vec![1]));
        assert_eq!(for_worker(&CpuAffinity::Auto(vec![2, 6]), 3, 8), Some(vec![6]));
        let masks = CpuAffinity::Masks(vec![vec![0, 2], vec![1, 3]]);
        assert_eq!(for_worker(&masks, 0, 4), Some(vec![0, 2]));
        assert_eq!(for_worker(&masks, 7, 4), Some(vec![1, 3]));
        assert_eq!(for_worker(&CpuAffinity::Unset, 0, 4), None);
    }
}
