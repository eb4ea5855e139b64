//! How much values differ: coefficients of variation and medians.

/// Standard deviation over mean; 0 where all are equal, zeros included.
pub(crate) fn variation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let (count, sum) = values.clone().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    if sum == 0.0 {
        return 0.0;
    }
    let mean = sum / count;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    (squares / count).sqrt() / mean
}

/// Coefficient of variation of the middle 80 % of sorted values. A tenth at each end is left out,
/// so that one full handshake among resumed ones does not hide that all others are the same.
pub(crate) fn middle_variation(sorted: &[u64]) -> f64 {
    let tenth = sorted.len() / 10;
    let middle = sorted.get(tenth..sorted.len() - tenth).unwrap_or(sorted);
    variation(middle.iter().map(|value| *value as f64))
}

/// The middle of sorted values, the upper one of two.
pub(crate) fn median(sorted: &[u64]) -> Option<u64> {
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variations() {
        assert_eq!(variation([5.0; 4].into_iter()), 0.0);
        assert_eq!(variation([0.0; 4].into_iter()), 0.0);
        assert_eq!(variation([1.0, 3.0].into_iter()), 0.5);
    }

    #[test]
    fn a_tenth_of_outliers_is_ignored() {
        let mut values = vec![1000; 20];
        values[18] = 9000;
        values[19] = 9000;
        assert_eq!(middle_variation(&values), 0.0);
        assert!(variation(values.iter().map(|v| *v as f64)) > 1.0);
        assert_eq!(median(&values), Some(1000));
        assert_eq!(median(&[]), None);
    }
}
