//! Describes the machine of a measurement. Figures of one processor are not valid for another, so
//! each table names its machine.

use std::fmt;
use std::fs;

use crate::measure;

/// The properties of a machine that figures depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The model name of the processor and, if the kernel reports them, the numbers of its family
    /// and model. In a virtual machine the name may not contain the model.
    processor: String,
    /// Whether it is a virtual machine. `None` if the processor does not report it.
    is_virtual: Option<bool>,
    /// The number of cores that this process may use.
    cores: usize,
    /// The release of the kernel.
    kernel: String,
}

impl Machine {
    /// Returns a description of this machine.
    pub fn here() -> Self {
        Self::of(
            &read("/proc/cpuinfo"),
            measure::cores().len(),
            &read("/proc/sys/kernel/osrelease"),
        )
    }

    /// Returns the machine that the content of `/proc/cpuinfo` and a kernel release describe.
    pub fn of(cpuinfo: &str, cores: usize, kernel: &str) -> Self {
        let field = |name: &str| {
            let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            lines.map(|(it, value)| (it.trim(), value.trim())).find(|it| it.0 == name)
        };
        let name = field("model name").map_or("unknown processor", |it| it.1);
        let numbers = field("cpu family").zip(field("model"));
        let numbers = numbers.map_or(String::new(), |(family, model)| {
            format!(" (family {}, model {})", family.1, model.1)
        });
        // A virtual processor reports that itself (CPUID leaf 1, the last bit of ECX).
        let flags = field("flags").map(|it| it.1);
        let is_virtual = flags.map(|it| it.split_whitespace().any(|it| it == "hypervisor"));
        let (processor, kernel) = (format!("{name}{numbers}"), kernel.trim().to_owned());
        Self { processor, is_virtual, cores, kernel }
    }

    /// Returns in words whether it is a virtual machine.
    const fn kind(&self) -> &'static str {
        match self.is_virtual {
            Some(true) => "virtual machine",
            Some(false) => "no virtual machine",
            None => "virtual machine or not: not told",
        }
    }

    /// Returns the lines for the head of a report: names and values.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let governor = if governor.is_empty() { "not told" } else { governor.trim() };
        let load = read("/proc/loadavg");
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let descriptors = measure::descriptors_max();
        vec![
            ("kernel", self.kernel.clone()),
            ("processor", format!("{}, frequency governor {governor}", self.processor)),
            ("machine", self.kind().to_owned()),
            ("cores", format!("{} that this process may use", self.cores)),
            ("load", format!("{load} when it started (1, 5, 15 minutes)")),
            ("descriptors", format!("{descriptors} for each process (ulimit -n)")),
        ]
    }
}

/// Formats the machine in one line, as in each table.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.cores == 1 { "" } else { "s" };
        let (processor, kind, cores) = (&self.processor, self.kind(), self.cores);
        write!(f, "{processor}, {kind}, {cores} core{plural}, kernel {}", self.kernel)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n\
                         model name\t: AMD EPYC 9R14 96-Core Processor\nflags\t\t: fpu vme hypervisor lahf_lm\n";

    #[test]
    fn a_virtual_machine_is_named_with_its_processor() {
        assert_eq!(
            Machine::of(GUEST, 4, "6.8.0-45\n").to_string(),
            "AMD EPYC 9R14 96-Core Processor (family 25, model 17), virtual machine, 4 cores, \
             kernel 6.8.0-45"
        );
    }

    #[test]
    fn a_physical_machine_is_recognized() {
        let host = GUEST.replace(" hypervisor", "");
        let text = Machine::of(&host, 1, "6.8.0").to_string();
        assert!(text.contains("no virtual machine, 1 core, "), "{text}");
    }

    #[test]
    fn unreported_properties_are_called_unknown() {
        let text = Machine::of("processor\t: 0\nFeatures\t: fp asimd\n", 2, "6.8.0").to_string();
        assert_eq!(
            text,
            "unknown processor, virtual machine or not: not told, 2 cores, kernel 6.8.0"
        );
    }
}
