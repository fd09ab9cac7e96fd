//! The numbers behind a chart or a list: a CSV beside the page.

/// A table of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Data {
    /// A table without rows.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row, as wide as the table, and says its number.
    pub fn push(&mut self, row: Vec<String>) -> usize {
        debug_assert_eq!(row.len(), self.columns.len(), "{:?}", self.columns);
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As CSV.
    pub fn csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns).expect("memory is writable");
        self.rows.iter().for_each(|row| writer.write_record(row).expect("memory is writable"));
        writer.into_inner().expect("memory is writable")
    }
}

/// A number in full precision, or nothing.
pub fn number(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map(|value| value.to_string()).unwrap_or_default()
}
