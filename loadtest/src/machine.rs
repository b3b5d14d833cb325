//! What a measurement was made on, so that a reader can tell what its numbers are worth.

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of its processor.
    pub processor: String,
    /// How many cores there are.
    pub cores: usize,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// The kernel's name and release.
    pub kernel: String,
}

impl Machine {
    /// This one; what is not known is said to be.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let processors = read("/proc/cpuinfo");
        let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: field(&processors, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: memory.unwrap_or_default() / 1024,
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_core_and_a_kernel() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.processor.is_empty(), "{machine:?}");
        assert!(machine.kernel.starts_with("Linux ") && machine.kernel.len() > "Linux ".len(), "{machine:?}");
    }
}
