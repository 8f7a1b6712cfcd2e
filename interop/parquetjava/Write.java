import java.security.SecureRandom;
import java.util.Base64;
import java.util.Random;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.column.ParquetProperties.WriterVersion;
import org.apache.parquet.crypto.keytools.KmsClient;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.schema.MessageTypeParser;

/** Write FILE [NAME=VALUE ...] < keys: a table that follows from nothing but the row; encrypted if there are settings. */
public class Write {
  static final String SCHEMA = "message t { required int64 id; optional int32 day (DATE); optional double price; optional float ratio; required boolean flag;"
      + " optional binary city (STRING); optional binary blob; optional fixed_len_byte_array(9) amount (DECIMAL(20,4)); optional int64 at (TIMESTAMP(MICROS,true));"
      + " optional group tags (LIST) { repeated group list { optional binary element (STRING); } } optional group point { required double x; optional int32 y; } }";

  public static void main(String[] args) throws Exception {
    Configuration conf = new Configuration();
    boolean v2 = false;
    for (int i = 1; i < args.length; i++) {
      String[] setting = args[i].split("=", 2);
      conf.set(setting[0], setting[1]);
      v2 |= args[i].equals("test.pages=2");
    }
    if (args.length > 1) {
      conf.set("parquet.crypto.factory.class", "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory");
      conf.set("parquet.encryption.kms.client.class", "Write$Wrap");
      conf.set("test.keys", new java.util.Scanner(System.in).nextLine());
    }
    var schema = MessageTypeParser.parseMessageType(SCHEMA);
    var factory = new SimpleGroupFactory(schema);
    Random r = new Random(1);
    try (var out = ExampleParquetWriter.builder(new Path(args[0])).withType(schema).withConf(conf).withPageSize(4096).withRowGroupSize(200_000L)
        .withCompressionCodec(v2 ? CompressionCodecName.ZSTD : CompressionCodecName.SNAPPY)
        .withWriterVersion(v2 ? WriterVersion.PARQUET_2_0 : WriterVersion.PARQUET_1_0).build()) {
      for (int i = 0; i < 5000; i++) {
        out.write(row(factory.newGroup(), i, r));
      }
    }
  }

  static Group row(Group g, int i, Random r) {
    byte[] amount = new byte[9];
    r.nextBytes(amount);
    amount[0] = 0;
    g.add("id", (long) i);
    if (i % 7 != 0) g.add("day", i * 3 - 4000);
    if (i % 5 != 0) g.add("price", r.nextGaussian());
    g.append("ratio", r.nextFloat()).append("flag", i % 3 == 0);
    if (i % 4 != 0) g.add("city", "city " + i % 20);
    g.add("blob", org.apache.parquet.io.api.Binary.fromConstantByteArray(new byte[] {(byte) i, (byte) (i >> 8)}));
    g.add("amount", org.apache.parquet.io.api.Binary.fromConstantByteArray(amount));
    g.add("at", 1_700_000_000_000_000L + i * 1_234_567L);
    Group tags = g.addGroup("tags");
    for (int j = 0; j < i % 3; j++) tags.addGroup("list").add("element", "tag " + r.nextInt(100));
    g.addGroup("point").append("x", i / 3.0).append("y", i);
    return g;
  }

  /** A key service that wraps on its own side: AES-GCM under the master key, its id as associated data. */
  public static class Wrap implements KmsClient {
    private Configuration conf;

    @Override
    public void initialize(Configuration conf, String id, String url, String token) {
      this.conf = conf;
    }

    @Override
    public String wrapKey(byte[] key, String master) {
      try {
        for (String entry : conf.get("test.keys").split(",")) {
          String[] named = entry.split(":");
          if (!named[0].equals(master)) continue;
          byte[] nonce = new byte[12];
          new SecureRandom().nextBytes(nonce);
          Cipher c = Cipher.getInstance("AES/GCM/NoPadding");
          c.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(Base64.getDecoder().decode(named[1]), "AES"), new GCMParameterSpec(128, nonce));
          c.updateAAD(master.getBytes("UTF-8"));
          byte[] sealed = c.doFinal(key), box = new byte[12 + sealed.length];
          System.arraycopy(nonce, 0, box, 0, 12);
          System.arraycopy(sealed, 0, box, 12, sealed.length);
          return Base64.getEncoder().encodeToString(box);
        }
      } catch (Exception e) {
        throw new RuntimeException(e);
      }
      throw new RuntimeException("no key " + master);
    }

    @Override
    public byte[] unwrapKey(String wrapped, String master) {
      throw new UnsupportedOperationException();
    }
  }
}
