import java.math.BigInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.schema.LogicalTypeAnnotation.DecimalLogicalTypeAnnotation;

/** Read URL DATASET PLAIN [SCHEMA] < token and files: compares our encrypted files, row by row, with the same table in the clear. */
public class Read {
  public static void main(String[] args) throws Exception {
    Configuration plainConf = new Configuration(), conf = new Configuration();
    var in = new java.util.Scanner(System.in);
    conf.set("parquet.crypto.factory.class", "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory");
    conf.set("parquet.encryption.kms.client.class", "ColdframeKms");
    conf.set("parquet.encryption.kms.instance.url", args[0]);
    conf.set("parquet.encryption.kms.instance.id", args[1]);
    conf.set("parquet.encryption.key.access.token", in.nextLine());
    if (args.length > 3) {
      plainConf.set(ReadSupport.PARQUET_READ_SCHEMA, args[3]);
      conf.set(ReadSupport.PARQUET_READ_SCHEMA, args[3]);
    }
    long rows = 0;
    try (var plain = open(plainConf, args[2])) {
      while (in.hasNextLine()) {
        try (var sealed = open(conf, in.nextLine())) {
          for (Group g; (g = sealed.read()) != null; rows++) {
            Group want = plain.read();
            if (want == null || !text(want).equals(text(g))) {
              throw new AssertionError("row " + rows + " differs:\n" + text(g) + "want\n" + (want == null ? "" : text(want)));
            }
          }
        }
      }
      if (plain.read() != null) {
        throw new AssertionError("only " + rows + " rows");
      }
    }
    System.out.println(rows);
  }

  /** The values of a row; a decimal counts as a number, whichever type it is stored as. */
  static String text(Group g) {
    var out = new StringBuilder();
    for (var field : g.getType().getFields()) {
      int i = g.getType().getFieldIndex(field.getName());
      for (int n = 0; n < g.getFieldRepetitionCount(i); n++) {
        out.append(field.getName()).append(": ");
        if (!field.isPrimitive()) {
          out.append("{").append(text(g.getGroup(i, n))).append("}");
        } else if (field.getLogicalTypeAnnotation() instanceof DecimalLogicalTypeAnnotation) {
          out.append(switch (field.asPrimitiveType().getPrimitiveTypeName()) {
            case INT32 -> BigInteger.valueOf(g.getInteger(i, n));
            case INT64 -> BigInteger.valueOf(g.getLong(i, n));
            default -> new BigInteger(g.getBinary(i, n).getBytes());
          });
        } else {
          out.append(g.getValueToString(i, n));
        }
        out.append("\n");
      }
    }
    return out.toString();
  }

  static ParquetReader<Group> open(Configuration conf, String path) throws Exception {
    return ParquetReader.builder(new GroupReadSupport(), new Path(path)).withConf(conf).build();
  }
}
